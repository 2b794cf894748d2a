-- Note how many tasks each queue holds now, where that is the most of this minute.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- Touches  count stat:
-- Returns  how many queues there are

local MOST_QUEUES = 300 -- the rest of each namespace is noted as one
local counts, found, known, many = redis.call('HGETALL', prefix .. 'count'), { g = 1 }, {}, 0
for i = 1, #counts, 2 do
  local letter, queue, tasks = counts[i]:sub(1, 1), counts[i]:sub(3), tonumber(counts[i + 1])
  if not known[queue] then
    many = many + 1
    known[queue] = many <= MOST_QUEUES and queue or (queue:match('^.*/') or '') .. '(other)'
  end
  local field = letter .. NO_STEP .. known[queue]
  if tasks > 0 then found[field] = (found[field] or 0) + tasks end
end
add_stats(found, 1, math.floor(now / 60000))
return many
