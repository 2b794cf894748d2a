-- Take units of what a key may ask for in a time: the generic cell rate algorithm, counted in microseconds.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  id of the API key
-- ARGV[3]  microseconds in which one unit grows back
-- ARGV[4]  microseconds in which all do
-- ARGV[5]  units used already: taken whatever there is
-- ARGV[6]  units wanted beyond: given as far as there are any
-- Touches  rate:
-- Returns  units given beyond; units left; ms until all are there again; ms until there is one
--
-- Sent again it takes again: who loses an answer gets less, never more.

local name = prefix .. 'rate:' .. ARGV[2]
local unit, window = tonumber(ARGV[3]), tonumber(ARGV[4])
local micros = clock[1] * 1000000 + clock[2]
local owed = math.max(tonumber(redis.call('GET', name) or '0') - micros, 0)
owed = owed + ARGV[5] * unit
local given = math.min(math.max(math.floor((window - owed) / unit), 0), tonumber(ARGV[6]))
owed = owed + given * unit
if ARGV[5] + given > 0 then
  redis.call('SET', name, string.format('%.0f', micros + owed), 'PX', math.ceil(owed / 1000) + 1)
end
return {
  given, math.max(math.floor((window - owed) / unit), 0), math.ceil(owed / 1000),
  math.max(math.ceil((owed + unit - window) / 1000), 0),
}
