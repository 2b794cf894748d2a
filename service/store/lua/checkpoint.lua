-- Note where running tasks are, so that their next attempts go on from there.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id (16) .. token (12) .. number (4 bytes); checkpoint as JSON; repeated. The number counts the task's checkpoints:
--          one that was sent again and comes late does not replace a newer one
-- Touches  run c:
-- Returns  a status a task: 1 noted, or a newer one was before | 0 lease lost
-- Stored is now (6 bytes) .. number (4) .. JSON. What ends the task deletes it; its time to live is for what nobody foresaw.

local statuses = {}
for i = 2, #ARGV, 2 do
  local id, number = ARGV[i]:sub(1, 16), ARGV[i]:sub(29)
  local packed = redis.call('HGET', prefix .. 'run', id)
  local run = packed and packed:sub(1, 12) == ARGV[i]:sub(17, 28) and read_run(packed)
  if run and run.held then
    if not run.checkpointed then
      redis.call('HSET', prefix .. 'run', id, pack_run(
        run.token, run.attempt, run.crashes, run.undelivered, run.flags + HAS_CHECKPOINT, run.started, run.worker))
    end
    local key = prefix .. 'c:' .. id
    local noted = run.checkpointed and redis.call('GETRANGE', key, 6, 9) or ''
    if noted == '' or struct.unpack('>I4', noted) < struct.unpack('>I4', number) then
      redis.call('SET', key, now48 .. number .. ARGV[i + 1], 'PX', CHECKPOINT_MS)
    end
    statuses[#statuses + 1] = '1'
  else
    statuses[#statuses + 1] = '0'
  end
end
return table.concat(statuses)
