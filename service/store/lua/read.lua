-- Read tasks, each as it is at one instant.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id (16) of each task
-- Touches  t: o: p: c: run
-- Returns  {now ms, record, run, large outcome, progress, time (6 bytes) .. length of the checkpoint (4); repeated}, false for what
--          is not there. Fewer tasks than were asked for when they are over 1 MB together: ask for the others again

local reply, bytes = {now}, 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local record = redis.call('GET', prefix .. 't:' .. id)
  local run, outcome, progress, checkpoint = false, false, false, false
  if record and record:byte(2) == 87 then -- W: it waits or runs
    run = redis.call('HGET', prefix .. 'run', id)
    progress = run and redis.call('GET', prefix .. 'p:' .. id)
    if run and read_run(run).checkpointed then
      local length = redis.call('STRLEN', prefix .. 'c:' .. id)
      if length > 10 then checkpoint = redis.call('GETRANGE', prefix .. 'c:' .. id, 0, 5) .. struct.pack('>I4', length - 10) end
    end
  elseif record then
    outcome = redis.call('GET', prefix .. 'o:' .. id)
  end
  local place = 5 * i - 9
  reply[place + 1], reply[place + 2], reply[place + 3], reply[place + 4], reply[place + 5] = record, run, outcome, progress, checkpoint
  bytes = bytes + (record and #record or 0) + (outcome and #outcome or 0)
  if bytes > 1048576 then break end
end
return reply
