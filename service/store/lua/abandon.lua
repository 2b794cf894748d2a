-- Abort a backfill that is under way; tasks that it has made stay.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  member of the schedule: namespace/name
-- ARGV[3]  id of the backfill
-- Touches  sb: sched
-- Returns  its record as it stands then; empty: there is none

local key = prefix .. 'sb:' .. ARGV[2]
local found = redis.call('HGET', key, ARGV[3])
if not found or found:sub(2, 2) ~= 'R' then return found or '' end
found = found:sub(1, 1) .. 'A' .. found:sub(3, 28) .. now48 .. found:sub(35)
redis.call('HSET', key, ARGV[3], found)
redis.call('HDEL', key, '#' .. ARGV[3])
redis.call('ZREM', prefix .. 'sched', ARGV[2] .. '#' .. ARGV[3])
return found
