-- Take the probe of an open circuit: the one call that may be made to find out whether its endpoint answers again.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  namespace/endpoint
-- ARGV[3]  a token for this probe; the same again answers the same
-- ARGV[4]  for how long nobody else may probe, ms
-- Touches  circuits
-- Returns  {now ms, until when the circuit is open: 0 not any more, ms; 1 when the probe is the caller's}

local key = prefix .. 'circuits'
local text = redis.call('HGET', key, ARGV[2])
if not text then return {now, 0, 0} end
local circuit = cjson.decode(text)
if circuit.probe == ARGV[3] then return {now, circuit.until_ms, 1} end
if now < circuit.until_ms or now < (circuit.probe_ms or 0) then
  return {now, math.max(circuit.until_ms, circuit.probe_ms or 0), 0}
end
circuit.probe, circuit.probe_ms = ARGV[3], now + tonumber(ARGV[4])
redis.call('HSET', key, ARGV[2], cjson.encode(circuit))
return {now, circuit.until_ms, 1}
