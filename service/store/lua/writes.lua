-- Collecting the writes of a call, and making them.
--
-- Not a script of its own: scripts.py puts it behind shared.lua. Writes are collected over all tasks of a call and made
-- at its end with variadic commands, so that a call costs few commands, however many tasks it has.

local events, counts, ready, front, due, woken, made = {}, {}, {}, {}, {}, {}, {}
local lined, flow_counts, group_counts = {}, {}, {} -- of tasks with ties
local write_lines -- see lines.lua

-- Transitions of one call: letter, first id, how many ids follow it. Ids of one submission mostly move together.
local run_letter, run_stem, run_next, run_length
local function emit(letter, id)
  local tail = id:byte(15) * 256 + id:byte(16)
  if letter == run_letter and tail == run_next and run_length < 256 and id:sub(1, 14) == run_stem then
    events[#events] = string.char(run_length)
    run_length, run_next = run_length + 1, tail + 1
  else
    run_letter, run_stem, run_next, run_length = letter, id:sub(1, 14), tail + 1, 1
    events[#events + 1] = letter .. id
    events[#events + 1] = '\0'
  end
end

-- What is counted for statistics (`stat:`): fields, which tallies.py describes, and by how much. *submitted* and *waited* are
-- by queue: how many came, and how many were leased, by what they are and when they had been due (6 bytes).
local STATS_MS = { [1] = 26 * 3600000, [10] = 8 * 86400000, [60] = 8 * 86400000, all = 30 * 86400000 }
local MOST_STATS, NO_STEP = { [1] = 2000, [10] = 2000, [60] = 2000, all = 10000 }, '\31'
local stats, submitted, waited = {}, {}, {}

local function count_stat(field, many)
  stats[field] = (stats[field] or 0) + many
end

-- The field of a report that says no more than this: its queue, and the name that begins its packed submission, *text* from
-- *at* on.
local function stat_of(letter, queue, text, at, rest)
  local name = text:match('^\1([^\2]*)\2', at) or text:match('^{"name":"([^"]*)"', at) or ''
  return letter .. NO_STEP .. queue .. '\1' .. name .. (rest or '')
end

-- The same of a lease, for which *record* was read anyway: a byte 1 and the name, or as much of the URL as says whom it calls.
local function subject_of(record)
  local at = 14 + record:byte(13)
  local named = record:match('^\1[^\2]*', at)
  return named or '\1' .. (record:match('^{"name":"([^"]*)"', at) or record:match('^{"url":"(%a+://[^/?"]*)', at) or '')
end

-- How long something took, as the byte of a field: quarters of a doubling, from a millisecond on.
local function step_of(ms)
  return string.char(32 + (ms > 1 and math.min(math.ceil(math.log(ms) / math.log(2) * 4 - 1e-9), 127) or 0))
end

-- Add *found* to the bucket of so many *minutes* that begins with the minute *first*: capital letters add up, of small ones
-- the most is kept. A bucket is bounded: one field too many counts as '(other)', within its namespace.
local function add_stats(found, minutes, first)
  local key = prefix .. 'stat:' .. minutes .. ':' .. first
  local known = redis.call('HLEN', key)
  for field, many in pairs(found) do
    if field:byte() >= 97 then
      if many > tonumber(redis.call('HGET', key, field) or 0) then redis.call('HSET', key, field, many) end
    else
      if known >= MOST_STATS[minutes] and redis.call('HEXISTS', key, field) == 0 then
        local queue, named = field:match('^([^\1]*)(\1?)', 3)
        field = field:sub(1, 2) .. (queue:match('^.*/') or '') .. '(other)' .. (named ~= '' and '\1(other)' or '')
      end
      redis.call('HINCRBY', key, field, many)
    end
  end
  if known == 0 then redis.call('PEXPIRE', key, STATS_MS[minutes]) end
end

local function write_stats()
  for queue, many in pairs(submitted) do count_stat('N' .. NO_STEP .. queue, many) end
  for queue, subjects in pairs(waited) do
    for subject, stamps in pairs(subjects) do
      for stamp, many in pairs(stamps) do count_stat('W' .. step_of(now - read48(stamp, 1)) .. queue .. subject, many) end
    end
  end
  if next(stats) then add_stats(stats, 1, math.floor(now / 60000)) end
end

local function tally(field, change)
  counts[field] = (counts[field] or 0) + change
end

local function append(lists, key, value)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  list[#list + 1] = value
end

-- The entry of `due` of a task; the type L says that its record must be read to know its line.
local function due_entry(id, head)
  local flow, group = line_of(head.ties)
  return ((flow ~= '' or group ~= '') and 'L' or 'T') .. head.generation .. id .. head.priority .. head.lane
end

-- Put an entry to the end (or the front) of the line of tied tasks, which is made when there is none.
local function line_up(head, flow, group, entry, in_front)
  local home = head.queue .. ':' .. head.lane .. ':' .. head.priority
  local key = prefix .. 'line:' .. home .. ':' .. group .. ':' .. flow
  lined[key] = lined[key] or { home = home, group = group, flow = flow, back = {}, front = {} }
  local list = in_front and lined[key].front or lined[key].back
  list[#list + 1] = entry
end

-- A waiting task goes to its list or line (to the front when it was running before) or to `due`.
local function enqueue(id, head, due_ms, in_front)
  if due_ms > now then
    local key = prefix .. 'due:' .. head.queue
    append(due, key, due_ms)
    append(due, key, due_entry(id, head))
    tally('s:' .. head.queue, 1)
    emit('w', id)
    return
  end
  local flow, group = line_of(head.ties)
  if flow ~= '' or group ~= '' then
    line_up(head, flow, group, 'T' .. head.generation .. id, in_front)
  else
    local key = prefix .. 'q:' .. head.queue .. ':' .. head.lane .. ':' .. head.priority
    append(in_front and front or ready, key, 'T' .. head.generation .. id)
  end
  woken[prefix .. 'wake:' .. head.queue .. ':' .. head.lane] = true
  tally('q:' .. head.queue, 1)
  emit('q', id)
end

-- Whoever waits for tasks of *queue* looks again, in each lane that has any.
local function wake_lanes(queue)
  for lane in ('uatplAT'):gmatch('.') do
    local lists = {}
    for priority = 0, 9 do lists[#lists + 1] = prefix .. 'q:' .. queue .. ':' .. lane .. ':' .. priority end
    if redis.call('EXISTS', unpack(lists)) > 0 or redis.call('HEXISTS', prefix .. 'tied', queue .. ':' .. lane) == 1 then
      woken[prefix .. 'wake:' .. queue .. ':' .. lane] = true
    end
  end
end

-- Fewer tasks run than before this call: in queues where only so many may, those that wait come closer.
local function wake_freed()
  local queues = {}
  for field, change in pairs(counts) do
    if change < 0 and field:sub(1, 2) == 'r:' then queues[#queues + 1] = field:sub(3) end
  end
  if #queues == 0 then return end
  for i, gate in ipairs(redis.call('HMGET', prefix .. 'limits', unpack(queues))) do
    if gate and read_gate(gate).concurrency then wake_lanes(queues[i]) end
  end
end

-- How many tasks of its flow key and of its group have not ended.
local function tally_ties(queue, ties, change)
  local flow, group = line_of(ties)
  if flow ~= '' then flow_counts[flow] = (flow_counts[flow] or 0) + change end
  if group == '' then return end
  local key = prefix .. 'groups:' .. queue
  group_counts[key] = group_counts[key] or {}
  group_counts[key][group] = (group_counts[key][group] or 0) + change
end

-- New tasks, in their order: *ids* and *records* are parallel. The caller has checked that none exists.
local function create(ids, records)
  local pairs_of, expiring = {}, {}
  for i, id in ipairs(ids) do
    local record = records[i]
    local head = header(record)
    if head.state == 'D' then
      head.due = now + head.due
      record = record:sub(1, 1) .. 'W' .. record:sub(3, 5) .. pack48(head.due) .. record:sub(12)
    end
    pairs_of[2 * i - 1], pairs_of[2 * i] = prefix .. 't:' .. id, record
    enqueue(id, head, head.due)
    submitted[head.queue] = (submitted[head.queue] or 0) + 1
    if head.ties ~= '' then tally_ties(head.queue, head.ties, 1) end
    made[#made + 1] = id
    local expires = head.ties ~= '' and ties_of(head.ties).E
    if expires then expiring[#expiring + 1], expiring[#expiring + 2] = read48(expires, 1), id end
  end
  redis.call('MSET', unpack(pairs_of))
  if #expiring > 0 then redis.call('ZADD', prefix .. 'expiring', unpack(expiring)) end
end

-- The order of creation: runs of ids (first id, how many follow it) in buckets of about 256 runs, named by when
-- they were opened.
local function write_made()
  if #made == 0 then return end
  local runs, stem, next_tail, length = {}, nil, 0, 0
  for _, id in ipairs(made) do
    local tail = id:byte(15) * 256 + id:byte(16)
    if stem and tail == next_tail and length < 256 and id:sub(1, 14) == stem then
      length = length + 1
      runs[#runs] = runs[#runs]:sub(1, 16) .. string.char(length - 1)
    else
      stem, length = id:sub(1, 14), 1
      runs[#runs + 1] = id .. '\0'
    end
    next_tail = tail + 1
  end
  local bucket = redis.call('ZRANGE', prefix .. 'made', -1, -1)[1]
  if not bucket or redis.call('LLEN', prefix .. 'made:' .. bucket) >= 256 then
    bucket = now48
    redis.call('ZADD', prefix .. 'made', now, bucket)
  end
  redis.call('RPUSH', prefix .. 'made:' .. bucket, unpack(runs))
end

-- A due task that becomes the earliest of its queue wakes one worker, so that it sleeps no longer than that.
local function write_due()
  for key, pairs_of in pairs(due) do
    local first = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or math.huge)
    redis.call('ZADD', key, unpack(pairs_of))
    for i = 1, #pairs_of, 2 do
      if pairs_of[i] < first then
        woken[prefix .. 'wake:' .. key:sub(#prefix + 5) .. ':' .. pairs_of[i + 1]:sub(20)] = true
      end
    end
  end
end

local function write_collected()
  write_lines()
  write_due()
  write_made()
  for key, entries in pairs(ready) do redis.call('RPUSH', key, unpack(entries)) end
  for key, entries in pairs(front) do
    for i = #entries, 1, -1 do redis.call('LPUSH', key, entries[i]) end -- what came first stays first
  end
  if next(counts) then
    local known = redis.call('HLEN', prefix .. 'count')
    for field, change in pairs(counts) do
      if change ~= 0 then redis.call('HINCRBY', prefix .. 'count', field, change) end
    end
    if redis.call('HLEN', prefix .. 'count') > known then woken[prefix .. 'wake:@queues'] = true end
  end
  for key in pairs(woken) do redis.call('ZADD', key, 0, '') end
  write_stats()
  if #events > 0 then
    redis.call('XADD', prefix .. 'ev', 'MAXLEN', '~', 4096, '*', 'e', table.concat(events))
  end
end

-- Add a row to what became of a schedule's last 100 occurrences; schedule.py reads it. *rest*: a task's id, or a number (4).
local function note_run(member, kind, nominal, rest)
  local key = prefix .. 'sh:' .. member
  redis.call('LPUSH', key, kind .. pack48(nominal) .. now48 .. rest .. string.rep('\0', 16 - #rest))
  redis.call('LTRIM', key, 0, 99)
end
