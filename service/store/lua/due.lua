-- Read the schedules, and backfills of schedules, that are due.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how many at most; a call that has read a megabyte ends sooner
-- Touches  s: sb: sched
-- Returns  {now ms, when the next is due (-1: none is known), member and record of each that is due}
--          a member namespace/name#id is a backfill: length of its record (4) .. record .. its definition

local MOST_BYTES = 1048576
local reply, bytes = { now, -1 }, 0
local found = redis.call('ZRANGE', prefix .. 'sched', 0, ARGV[2], 'WITHSCORES')
for i = 1, #found, 2 do
  if tonumber(found[i + 1]) > now or #reply >= 2 + 2 * ARGV[2] or bytes >= MOST_BYTES then
    reply[2] = tonumber(found[i + 1])
    break
  end
  local member, record = found[i], false
  local schedule, fill = member:match('^(.*)#(.*)$')
  if fill then
    local parts = redis.call('HMGET', prefix .. 'sb:' .. schedule, fill, '#' .. fill)
    record = parts[1] and parts[2] and struct.pack('>I4', #parts[1]) .. parts[1] .. parts[2]
  else
    record = redis.call('GET', prefix .. 's:' .. member)
  end
  if record then
    reply[#reply + 1], reply[#reply + 2] = member, record
    bytes = bytes + #record
  else
    redis.call('ZREM', prefix .. 'sched', member)
  end
end
return reply
