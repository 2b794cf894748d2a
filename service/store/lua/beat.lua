-- Heartbeats of endpoints: each keeps the lease that was handed over to it, for as long as it said it would be silent.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id (16) .. token (12) of each task
-- Touches  run lease ext
-- Returns  a status a task: 1 extended | 0 lease lost | 2 extended, and cancellation was asked for
-- A task that its worker still holds, since the call has not been answered yet, is left to the worker's own heartbeats.

local statuses = {}
for i = 2, #ARGV do
  local id = ARGV[i]:sub(1, 16)
  local packed = redis.call('HGET', prefix .. 'run', id)
  local run = packed and packed:sub(1, 12) == ARGV[i]:sub(17) and read_run(packed)
  if run and run.held then
    local noted = run.external and redis.call('HGET', prefix .. 'ext', id)
    if noted then
      local deadline = math.min(now + read48(noted, 1), read48(noted, 13))
      redis.call('HSET', prefix .. 'ext', id, noted:sub(1, 6) .. pack48(deadline) .. noted:sub(13))
      redis.call('ZADD', prefix .. 'lease', math.min(deadline, now + LONGEST_LEASE), id)
    end
    statuses[#statuses + 1] = run.cancelling and '2' or '1'
  else
    statuses[#statuses + 1] = '0'
  end
end
return table.concat(statuses)
