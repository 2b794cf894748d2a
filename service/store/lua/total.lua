-- Say what was counted in all, for counters that never go back: minutes that are over are added up once, and the one that is
-- under way is told beside them.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- Touches  conf stat:
-- Returns  {1 when minutes are left to be added up, else 0, fields and values of all minutes that are over, those of this one}
-- Fields are as in tallies.py, without types of errors, and their steps are the ends of whole doublings, 88 being over the last.
-- Beside them stands how long it all took, in microseconds: each count as if it lay in the middle of its step, before that
-- is made coarser.

local MOST_MINUTES, LAST = 200, 88
local minute = math.floor(now / 60000)

local function middle_us(step)
  return step == 0 and 500 or (2 ^ (step / 4) + 2 ^ ((step - 1) / 4)) * 500
end

local function coarse(found)
  local summed, took = {}, {}
  for i = 1, #found, 2 do
    local field = found[i]:match('^[A-Z].[^\1]*\1?[^\1]*')
    if field then
      local step = field:byte(2) - 32
      local letter, subject, many = field:sub(1, 1), field:sub(3), tonumber(found[i + 1])
      if step >= 0 then
        local sum = (letter == 'W' and 'V' or 'U') .. NO_STEP .. subject
        took[sum] = (took[sum] or 0) + many * middle_us(step)
        field = letter .. string.char(32 + math.min(math.ceil(step / 4) * 4, LAST)) .. subject
      end
      summed[field] = (summed[field] or 0) + many
    end
  end
  for field, us in pairs(took) do summed[field] = string.format('%.0f', us) end
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
