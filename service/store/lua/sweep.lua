-- Forget what has been kept long enough: a slice of the lists of ended tasks, old events.
--
-- Moves    nothing that still counts: records expire by themselves
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  age to which succeeded, cancelled and expired tasks are listed, ms; [3] how many at most
-- ARGV[4]  the same for failed tasks; [5] how many at most
-- ARGV[6]  age to which events are kept, ms
-- Touches  conf t: o: a: p: c: l: done dead exp ev
-- Returns  {how many tasks left the lists, 1 when there may be more to forget}

local removed, more = 0, 0
local function leave(list, ids)
  if #ids > 0 then removed = removed + redis.call('ZREM', prefix .. list, unpack(ids)) end
end

-- Old tasks leave their list; those with a time to live of their own stay until that is over. conf notes how far this
-- has come, so that those who stay are not met again.
local function leave_old(list, age)
  local place = tonumber(redis.call('HGET', KEYS[1], 'swept:' .. list) or 0)
  local old = redis.call('ZRANGEBYSCORE', prefix .. list, place, now - age, 'WITHSCORES', 'LIMIT', 0, 128)
  if #old == 0 then return end
  local ids, leaving, last = {}, {}, tonumber(old[#old])
  for i = 1, #old, 2 do ids[#ids + 1] = old[i] end
  for i, own in ipairs(redis.call('ZMSCORE', prefix .. 'exp', unpack(ids))) do
    if not own then leaving[#leaving + 1] = ids[i] end
  end
  leave(list, leaving)
  if #ids == 128 then
    more = 1
    if #leaving == 0 and last == place then last = place + 1 end
  end
  redis.call('HSET', KEYS[1], 'swept:' .. list, last)
end

local own = redis.call('ZRANGEBYSCORE', prefix .. 'exp', '-inf', now, 'LIMIT', 0, 128)
if #own > 0 then
  leave('done', own)
  leave('dead', own)
  redis.call('ZREM', prefix .. 'exp', unpack(own))
  if #own == 128 then more = 1 end
end
for list, bounds in pairs({ done = { ARGV[2], ARGV[3] }, dead = { ARGV[4], ARGV[5] } }) do
  leave_old(list, bounds[1])
  local over = redis.call('ZCARD', prefix .. list) - bounds[2]
  if over > 0 then
    local ids = redis.call('ZRANGE', prefix .. list, 0, math.min(over, 128) - 1)
    for _, id in ipairs(ids) do
      redis.call('UNLINK', prefix .. 't:' .. id, prefix .. 'o:' .. id, prefix .. 'a:' .. id, prefix .. 'p:' .. id,
        prefix .. 'c:' .. id, prefix .. 'l:' .. id)
    end
    leave(list, ids)
    redis.call('ZREM', prefix .. 'exp', unpack(ids))
    if over > 128 then more = 1 end
  end
end
redis.call('XTRIM', prefix .. 'ev', 'MINID', string.format('%.0f', math.max(0, now - ARGV[6])))
return {removed, more}
