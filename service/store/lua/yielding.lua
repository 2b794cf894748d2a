-- Name the tasks of a full queue that give way to newer ones: those that have waited for longest, as the heads of its lists tell.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  queue
-- ARGV[3]  how many at most
-- Touches  t: q: due:
-- Returns  their ids, in the order of their creation; when none are due, those that are next

local queue, most, found = ARGV[2], tonumber(ARGV[3]), {}
local function note(entries)
  local ids, keys = {}, {}
  for i, entry in ipairs(entries) do
    ids[i] = entry:sub(3, 18)
    keys[i] = prefix .. 't:' .. ids[i]
  end
  for i, record in ipairs(#keys > 0 and redis.call('MGET', unpack(keys)) or {}) do
    if record and record:sub(2, 3) == 'W' .. entries[i]:sub(2, 2) then found[#found + 1] = ids[i] end
  end
end
for lane in ('uatplAT'):gmatch('.') do
  for priority = 0, 9 do
    note(redis.call('LRANGE', prefix .. 'q:' .. queue .. ':' .. lane .. ':' .. priority, 0, most - 1))
  end
end
for _, key in ipairs(with_lines().lines_of(queue)) do note(redis.call('LRANGE', key, 0, most - 1)) end
if #found == 0 then note(redis.call('ZRANGE', prefix .. 'due:' .. queue, 0, most - 1)) end
table.sort(found)
return { unpack(found, 1, most) }
