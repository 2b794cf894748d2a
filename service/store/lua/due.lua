-- Read the schedules that are due.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how many at most
-- Touches  s: sched
-- Returns  {now ms, when the next is due (-1: none is known), member and record of each that is due}

local reply = { now, -1 }
local found = redis.call('ZRANGE', prefix .. 'sched', 0, ARGV[2], 'WITHSCORES')
for i = 1, #found, 2 do
  if tonumber(found[i + 1]) > now or #reply >= 2 + 2 * ARGV[2] then
    reply[2] = tonumber(found[i + 1])
    break
  end
  local record = redis.call('GET', prefix .. 's:' .. found[i])
  if record then
    reply[#reply + 1], reply[#reply + 2] = found[i], record
  else
    redis.call('ZREM', prefix .. 'sched', found[i])
  end
end
return reply
