-- Raise the marker of a worker, so that its parent looks again at what it waits for; nobody's marker goes by itself.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  the worker's id
-- ARGV[3]  what the marker is raised with
-- ARGV[4]  how long it stands, ms
-- Touches  wake:
-- Returns  1

redis.call('ZADD', prefix .. 'wake:@' .. ARGV[2], 0, ARGV[3])
redis.call('PEXPIRE', prefix .. 'wake:@' .. ARGV[2], ARGV[4])
return 1
