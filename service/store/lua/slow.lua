-- Keep slow attempts, the slowest of each minute, and count how many there were.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  session and number of who tells, between them ':'; what is told again is counted once
-- ARGV[3]  how long a minute is kept, ms
-- ARGV[4]  how many rows follow
-- ARGV[5+] the rows: namespace, minute, ms that it ran, name .. '\1' .. the rest, see slow.py; behind them what is counted: a
--          field as in tallies.py, how often
-- Touches  slow: told: stat:
-- Returns  1 counted | 0 counted before

local MOST, MOST_OF_NAME, TOLD_MS = 10, 3, 3600000
local session, number = ARGV[2]:match('^(.*):(%d+)$')
local minute, kept = math.floor(now / 60000), tonumber(ARGV[3])
local last = 4 + ARGV[4] * 4
local is_new = tonumber(redis.call('GET', prefix .. 'told:' .. session) or 0) < tonumber(number)
local left, found = {}, {}
for i = 5, last, 4 do
  local at = math.min(tonumber(ARGV[i + 1]), minute) -- the clock of who tells may be ahead
  local rest = (at + 1) * 60000 + kept - now
  if rest > 0 then
    local key = prefix .. 'slow:' .. ARGV[i] .. ':' .. string.format('%.0f', at)
    left[key] = rest
    redis.call('ZADD', key, ARGV[i + 2], ARGV[i + 3])
  end
end
for key, rest in pairs(left) do
  local many, names, faster = 0, {}, {}
  for _, row in ipairs(redis.call('ZREVRANGE', key, 0, -1)) do
    local name = row:match('^[^\1]*')
    names[name] = (names[name] or 0) + 1
    if many < MOST and names[name] <= MOST_OF_NAME then many = many + 1 else faster[#faster + 1] = row end
  end
  if #faster > 0 then redis.call('ZREM', key, unpack(faster)) end
  redis.call('PEXPIRE', key, string.format('%.0f', rest))
end
if not is_new then return 0 end
redis.call('SET', prefix .. 'told:' .. session, number, 'PX', TOLD_MS)
for i = last + 1, #ARGV, 2 do found[ARGV[i]] = tonumber(ARGV[i + 1]) end
if next(found) then add_stats(found, 1, string.format('%.0f', minute)) end
return 1
