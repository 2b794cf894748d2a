-- Read the slow attempts of a namespace that are kept of some minutes.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  namespace
-- ARGV[3]  the first minute
-- ARGV[4]  how many minutes
-- Touches  slow:
-- Returns  the rows, see slow.py

local rows = {}
for at = ARGV[3], ARGV[3] + ARGV[4] - 1 do
  local key = prefix .. 'slow:' .. ARGV[2] .. ':' .. string.format('%.0f', at)
  for _, row in ipairs(redis.call('ZRANGE', key, 0, -1)) do rows[#rows + 1] = row end
end
return rows
