-- Let go of queues that hold nothing, with the entries of ended tasks that no worker came to skip.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- Touches  t: count q: due: wake: turn: tied lined:
-- Returns  1 when there may be more to let go, else 0

-- Entries of ended tasks, which no worker came to skip.
local examined, more = 0, 0
local function skip_ended(key)
  local entries, skipped = redis.call('LRANGE', key, 0, 127), 0
  for _, entry in ipairs(entries) do
    if redis.call('GETRANGE', prefix .. 't:' .. entry:sub(3), 1, 2) == 'W' .. entry:sub(2, 2) then break end
    skipped = skipped + 1
  end
  if skipped > 0 then redis.call('LTRIM', key, skipped, -1) end
  if skipped == 128 then more = 1 end
  examined = examined + #entries
end

-- Lines of a queue in which nothing waits: what is in them belongs to ended tasks.
local function leave_lines(queue)
  local names = redis.call('ZRANGE', prefix .. 'lined:' .. queue, 0, 127)
  for _, name in ipairs(names) do
    local lines = with_lines()
    local home, group, flow = lines.named(queue, name)
    redis.call('UNLINK', lines.line_key(home, group, flow))
    lines.drop_line(home, group, flow)
    if flow ~= '' then lines.leave_park(flow, home, group) end
  end
  examined = examined + #names
  if #names == 128 then more = 1 end
end

-- A queue with nothing in it goes, so that names made for one day do not stay.
local counts, total = redis.call('HGETALL', prefix .. 'count'), {}
for i = 1, #counts, 2 do
  local queue = counts[i]:sub(3)
  total[queue] = (total[queue] or 0) + math.abs(tonumber(counts[i + 1]))
end
for queue, tasks in pairs(total) do
  if tasks == 0 and examined < 1024 then
    local lists, markers, lanes = { prefix .. 'due:' .. queue }, {}, {}
    for lane in ('uatplAT'):gmatch('.') do
      markers[#markers + 1] = prefix .. 'wake:' .. queue .. ':' .. lane
      lanes[#lanes + 1] = queue .. ':' .. lane
      for priority = 0, 9 do
        lists[#lists + 1] = prefix .. 'q:' .. queue .. ':' .. lane .. ':' .. priority
        markers[#markers + 1] = prefix .. 'turn:' .. queue .. ':' .. lane .. ':' .. priority
      end
    end
    leave_lines(queue)
    if redis.call('EXISTS', unpack(lists)) > 0 then
      for i = 2, #lists do skip_ended(lists[i]) end
    end
    lists[#lists + 1] = prefix .. 'lined:' .. queue
    if redis.call('EXISTS', unpack(lists)) == 0 then
      redis.call('HDEL', prefix .. 'tied', unpack(lanes))
      redis.call('HDEL', prefix .. 'count', 'q:' .. queue, 's:' .. queue, 'r:' .. queue)
      redis.call('DEL', unpack(markers))
    end
  end
end
return more
