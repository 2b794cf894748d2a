-- Put buckets of statistics together that are old enough to be kept in larger ones.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  minutes of the buckets to be put together; [3] minutes of those that they go into
-- ARGV[4]  to what age the former are kept, minutes
-- Touches  conf stat:
-- Returns  1 when there may be more to do, else 0

local small, large, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local minute, noted = math.floor(now / 60000), 'condensed:' .. small
local until_ = minute - kept
until_ = until_ - until_ % large -- only what makes a large one whole
local first = until_ - STATS_MS[small] / 60000 -- nothing before it is left
local from = math.max(tonumber(redis.call('HGET', KEYS[1], noted) or 0), first - first % large)
if from > until_ + large then from = until_ end -- the clock was ahead
local at, looked, fields = from, 0, 0
while at < until_ and looked < 200 and fields < 2000 do
  local key = prefix .. 'stat:' .. small .. ':' .. string.format('%.0f', at)
  local bucket, found = redis.call('HGETALL', key), {}
  for i = 1, #bucket, 2 do found[bucket[i]] = tonumber(bucket[i + 1]) end
  if #bucket > 0 then
    add_stats(found, large, string.format('%.0f', at - at % large))
    redis.call('UNLINK', key)
  end
  at, looked, fields = at + small, looked + 1, fields + #bucket / 2
end
if at ~= from then redis.call('HSET', KEYS[1], noted, string.format('%.0f', at)) end
return at < until_ and 1 or 0
