-- Forget what has been kept long enough: a slice of the lists of ended tasks, old events, empty queues.
--
-- Moves    nothing that still counts: records expire by themselves
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  age to which succeeded, cancelled and expired tasks are listed, ms; [3] how many at most
-- ARGV[4]  the same for failed tasks; [5] how many at most
-- ARGV[6]  age to which events are kept, ms
-- Touches  t: o: a: p: done dead exp ev count q: due: wake:
-- Returns  how many tasks left the lists; as many as 256 says that there may be more

local removed = 0
local function leave(list, ids)
  if #ids > 0 then removed = removed + redis.call('ZREM', prefix .. list, unpack(ids)) end
end

local own = redis.call('ZRANGEBYSCORE', prefix .. 'exp', '-inf', now, 'LIMIT', 0, 128)
leave('done', own)
leave('dead', own)
leave('exp', own)
for list, bounds in pairs({ done = { ARGV[2], ARGV[3] }, dead = { ARGV[4], ARGV[5] } }) do
  leave(list, redis.call('ZRANGEBYSCORE', prefix .. list, '-inf', now - bounds[1], 'LIMIT', 0, 128))
  local over = math.min(redis.call('ZCARD', prefix .. list) - bounds[2], 128)
  if over > 0 then
    local ids = redis.call('ZRANGE', prefix .. list, 0, over - 1)
    for _, id in ipairs(ids) do
      redis.call('UNLINK', prefix .. 't:' .. id, prefix .. 'o:' .. id, prefix .. 'a:' .. id, prefix .. 'p:' .. id)
    end
    leave(list, ids)
  end
end
redis.call('XTRIM', prefix .. 'ev', 'MINID', string.format('%.0f', math.max(0, now - ARGV[6])))

-- A queue with nothing in it and nothing left to skip goes, so that names made for one day do not stay.
local counts = redis.call('HGETALL', prefix .. 'count')
local total = {}
for i = 1, #counts, 2 do
  local queue = counts[i]:sub(3)
  total[queue] = (total[queue] or 0) + math.abs(tonumber(counts[i + 1]))
end
for queue, tasks in pairs(total) do
  if tasks == 0 then
    local lists, markers = { prefix .. 'due:' .. queue }, {}
    for lane in ('uatpl'):gmatch('.') do
      markers[#markers + 1] = prefix .. 'wake:' .. queue .. ':' .. lane
      for priority = 0, 9 do lists[#lists + 1] = prefix .. 'q:' .. queue .. ':' .. lane .. ':' .. priority end
    end
    if redis.call('EXISTS', unpack(lists)) == 0 then
      redis.call('HDEL', prefix .. 'count', 'q:' .. queue, 's:' .. queue, 'r:' .. queue)
      redis.call('DEL', unpack(markers))
    end
  end
end
return removed
