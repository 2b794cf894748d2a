-- Replace a field of what is kept apart from tasks, if it still is what somebody read.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  S secrets | E settings of endpoints | Q settings of queues | B work on many tasks | A alarms |
--          K API keys
-- ARGV[3]  field
-- ARGV[4]  what was read; empty: there was none
-- ARGV[5]  what it is to be; empty: none
-- Touches  secrets endpoints queues bulks alarms keys
-- Returns  what it is now; other than ARGV[5] when somebody else was faster

local key = ({
  S = prefix .. 'secrets', E = prefix .. 'endpoints', Q = prefix .. 'queues', B = prefix .. 'bulks', A = prefix .. 'alarms',
  K = prefix .. 'keys',
})[ARGV[2]]
local found = redis.call('HGET', key, ARGV[3]) or ''
if found ~= ARGV[4] or found == ARGV[5] then
  return found
end
if ARGV[5] == '' then
  redis.call('HDEL', key, ARGV[3])
else
  redis.call('HSET', key, ARGV[3], ARGV[5])
end
-- Whoever keeps a copy sees by this that it is old.
redis.call('HINCRBY', key, '#', 1)
return ARGV[5]
