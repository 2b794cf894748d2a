-- Tell a worker that lives to do something: a command for its list, and its marker raised.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  the worker's id
-- ARGV[3]  the command, JSON with an id of its own: told again, it is done once
-- ARGV[4]  how long it is kept, ms
-- ARGV[5]  what the marker is raised with
-- Touches  worker: ctl: wake:
-- Returns  1 told | 0 no such worker

local id = ARGV[2]
if redis.call('EXISTS', prefix .. 'worker:' .. id) == 0 then return 0 end
redis.call('RPUSH', prefix .. 'ctl:' .. id, ARGV[3])
redis.call('PEXPIRE', prefix .. 'ctl:' .. id, ARGV[4])
redis.call('ZADD', prefix .. 'wake:@' .. id, 0, ARGV[5])
redis.call('PEXPIRE', prefix .. 'wake:@' .. id, ARGV[4])
return 1
