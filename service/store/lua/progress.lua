-- Note how far running tasks are.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how long progress is kept, ms
-- ARGV[3+] id (16) .. token (12); progress as JSON; repeated
-- Touches  run p: ev
-- Returns  a status a task: 1 noted | 0 lease lost

local statuses = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]:sub(1, 16)
  local packed = redis.call('HGET', prefix .. 'run', id)
  local run = packed and packed:sub(1, 12) == ARGV[i]:sub(17) and read_run(packed)
  if run and run.held then
    if not run.progressed then
      redis.call('HSET', prefix .. 'run', id, pack_run(
        run.token, run.attempt, run.crashes, run.undelivered, run.flags + PROGRESSED, run.started, run.worker))
    end
    redis.call('SET', prefix .. 'p:' .. id, ARGV[i + 1], 'PX', ARGV[2])
    emit('p', id)
    statuses[#statuses + 1] = '1'
  else
    statuses[#statuses + 1] = '0'
  end
end
write_collected()
return table.concat(statuses)
