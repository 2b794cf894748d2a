-- Keep what running tasks log.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how long the log of a running task is kept, ms
-- ARGV[3+] id (16) .. token (12); lines as keep_log of endings.lua takes them; repeated
-- Touches  run ev and, through what stands before it, l:
-- Returns  a status a task: 1 kept | 0 lease lost

local statuses = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]:sub(1, 16)
  local packed = redis.call('HGET', prefix .. 'run', id)
  local run = packed and packed:sub(1, 12) == ARGV[i]:sub(17) and read_run(packed)
  if run and run.held then
    keep_log(id, ARGV[i + 1])
    redis.call('PEXPIRE', prefix .. 'l:' .. id, ARGV[2])
    if not run.logged then
      redis.call('HSET', prefix .. 'run', id, pack_run(
        run.token, run.attempt, run.crashes, run.undelivered, run.flags + LOGGED, run.started, run.worker))
    end
    emit('l', id)
    statuses[#statuses + 1] = '1'
  else
    statuses[#statuses + 1] = '0'
  end
end
write_collected()
return table.concat(statuses)
