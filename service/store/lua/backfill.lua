-- Begin a backfill of a schedule. The oldest of over 20 that have ended are forgotten.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  member of the schedule: namespace/name
-- ARGV[3]  id of the backfill; one that exists already is left as it is, since a call may be sent again
-- ARGV[4]  record as backfill.py packs it
-- ARGV[5]  definition of the schedule that it goes by
-- ARGV[6]  how many of a schedule may be under way
-- Touches  s: sb: sched wake:
-- Returns  0 there is no such schedule | 1 begun | 2 too many are under way

local member, fill, key = ARGV[2], ARGV[3], prefix .. 'sb:' .. ARGV[2]
if redis.call('EXISTS', prefix .. 's:' .. member) == 0 then return 0 end
local running, ended, found = 0, {}, redis.call('HGETALL', key)
for i = 1, #found, 2 do
  if found[i] == fill then return 1 end
  if found[i]:sub(1, 1) ~= '#' then
    if found[i + 1]:sub(2, 2) == 'R' then
      running = running + 1
    else
      ended[#ended + 1] = { read48(found[i + 1], 29), found[i] }
    end
  end
end
if running >= tonumber(ARGV[6]) then return 2 end
table.sort(ended, function(a, b) return a[1] > b[1] end)
for i = 20, #ended do redis.call('HDEL', key, ended[i][2]) end
redis.call('HSET', key, fill, ARGV[4], '#' .. fill, ARGV[5])
redis.call('ZADD', prefix .. 'sched', now, member .. '#' .. fill)
redis.call('ZADD', prefix .. 'wake:@schedules', 0, '')
return 1
