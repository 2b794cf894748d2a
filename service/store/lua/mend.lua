-- Forget that the calls of an endpoint failed: its circuit closes, and failures are counted from now on.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  namespace/endpoint
-- Touches  calls circuits
-- Returns  1 when a circuit was open, else 0

local key = prefix .. 'calls'
local text = redis.call('HGET', key, ARGV[2])
if text then
  local known = cjson.decode(text)
  known.streak, known.failing_ms, known.minute_ms = 0, nil, nil
  redis.call('HSET', key, ARGV[2], cjson.encode(known))
end
return redis.call('HDEL', prefix .. 'circuits', ARGV[2])
