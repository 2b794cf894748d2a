-- Say what was counted in all, for counters that never go back: minutes that are over are added up once, and the one that is
-- under way is told beside them.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- Touches  conf stat:
-- Returns  {1 when minutes are left to be added up, else 0, fields and values of all minutes that are over, those of this one}
-- Fields are as in tallies.py, without types of errors, and their steps are the ends of whole doublings, 88 being over the last.

local MOST_MINUTES, LAST = 200, 88
local minute = math.floor(now / 60000)

local function coarse(found)
  local summed = {}
  for i = 1, #found, 2 do
    local field = found[i]:match('^[A-Z].[^\1]*\1?[^\1]*')
    if field then
      local step = field:byte(2) - 32
      if step >= 0 then field = field:sub(1, 1) .. string.char(32 + math.min(math.ceil(step / 4) * 4, LAST)) .. field:sub(3) end
      summed[field] = (summed[field] or 0) + tonumber(found[i + 1])
    end
  end
  return summed
end

local from = tonumber(redis.call('HGET', KEYS[1], 'totalled') or 0)
if from > minute then from = minute end -- the clock was ahead
local at = math.max(from, minute - STATS_MS[1] / 60000)
local last = math.min(minute, at + MOST_MINUTES)
while at < last do
  local found = redis.call('HGETALL', prefix .. 'stat:1:' .. string.format('%.0f', at))
  if #found > 0 then add_stats(coarse(found), 'all', '0') end
  at = at + 1
end
if at ~= from then
  redis.call('HSET', KEYS[1], 'totalled', string.format('%.0f', at))
  redis.call('PEXPIRE', prefix .. 'stat:all:0', STATS_MS.all)
end
local now_counted = {}
for field, many in pairs(coarse(redis.call('HGETALL', prefix .. 'stat:1:' .. minute))) do
  now_counted[#now_counted + 1], now_counted[#now_counted + 2] = field, many
end
return {at < minute and 1 or 0, redis.call('HGETALL', prefix .. 'stat:all:0'), now_counted}
