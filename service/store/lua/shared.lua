-- What every script starts with: reading headers and runs, and collecting the writes of a call.
--
-- Not a script of its own: scripts.py puts it before each one. Writes are collected over all tasks of a
-- call and made at its end with variadic commands, so that a call costs few commands, however many tasks it has.
-- KEYS of every script: [1] prefix .. 'conf', [2] prefix .. 'none' (never exists; see keys.py).

local prefix = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local HELD, CONFIRMED, CANCELLING, PROGRESSED = 1, 2, 4, 8
local RAN, SUSPECT = 16, 32 -- in an earlier lease, and may have left traces; lost with its process, and runs alone
local HAS_CHECKPOINT, LOGGED = 64, 128 -- the task has one; this lease has
local EXTERNAL = 256 -- an endpoint holds the lease, which is to be heard from: see `ext`
local LONGEST_LEASE = 600000 -- a deadline further ahead is of a clock that jumped
local CHECKPOINT_MS = 30 * 86400000 -- a checkpoint outlives by so much whatever was last done with it

local function pack48(ms)
  return struct.pack('>I2I4', math.floor(ms / 4294967296), ms % 4294967296)
end

local function read48(text, at)
  local high, low = struct.unpack('>I2I4', text, at)
  return high * 4294967296 + low
end

local now48 = pack48(now)

-- The queue's name, and what ties the task to others ('' for most; ties.py writes and describes it), of the field that
-- starts with its length at *at*.
local function names(text, at)
  local length = text:byte(at)
  if length == 0 then return 'default', '' end
  local field = text:sub(at + 1, at + length)
  local zero = field:find('\0', 1, true)
  if not zero then return field, '' end
  return zero > 1 and field:sub(1, zero - 1) or 'default', field:sub(zero + 1)
end

-- What ties a task to others, by letter, of what `names` answers of it; see ties.py.
local TIE_BYTES = { F = 16, U = 16, C = 14, E = 6 }
local function ties_of(packed)
  local ties, at = {}, 1
  while at <= #packed do
    local letter = packed:sub(at, at)
    local last = at + (TIE_BYTES[letter] or #packed)
    ties[letter], at = packed:sub(at + 1, last), last + 1
  end
  return ties
end

-- The hash of the flow key and the group among them, which decide the line that a task waits in; '' for none.
local function line_of(packed)
  if packed == '' then return '', '' end
  local ties = ties_of(packed)
  return ties.F or '', ties.G or ''
end

-- A record's header; its names are read from the same bytes.
local function header(record)
  local queue, ties = names(record, 13)
  return {
    state = record:sub(2, 2), generation = record:sub(3, 3), priority = record:sub(4, 4), lane = record:sub(5, 5),
    due = read48(record, 6), max_crashes = record:byte(12), queue = queue, ties = ties,
  }
end

-- An entry of `run`; task.py reads the same bytes.
local function read_run(text)
  local attempt, crashes, undelivered, flags, high, low = struct.unpack('>I2BBBI2I4', text, 13)
  if undelivered >= 128 then undelivered, flags = undelivered - 128, flags + EXTERNAL end -- the ninth flag stands there
  return {
    token = text:sub(1, 12), attempt = attempt, crashes = crashes, undelivered = undelivered, flags = flags,
    held = flags % 2 == 1, confirmed = flags % 4 >= 2, cancelling = flags % 8 >= 4,
    progressed = flags % 16 >= 8, ran = flags % 32 >= 16, suspect = flags % 64 >= 32,
    checkpointed = flags % 128 >= 64, logged = flags % 256 >= 128, external = flags >= 256,
    started = high * 4294967296 + low, worker = text:sub(24),
  }
end

local function pack_run(token, attempt, crashes, undelivered, flags, started, worker)
  return token .. struct.pack('>I2BBBI2I4', attempt, math.min(crashes, 255),
    math.min(undelivered, 127) + (flags >= EXTERNAL and 128 or 0), flags % EXTERNAL,
    math.floor(started / 4294967296), started % 4294967296) .. worker
end

-- What holds back the tasks of a queue in this shard, an entry of `limits`; limits.py reads the same bytes. Behind what is
-- packed stands the number of the change that it came by.
local PAUSED, CONCURRENCY, RATE, DEALT, LENGTH, DROPS, CLOSED = 1, 2, 4, 8, 16, 32, 64
local GATE = '>BI4dI4dI4dI4'
local function read_gate(text)
  local flags, concurrency, every, burst, at, dealt, till, length, rest = struct.unpack(GATE, text)
  local function has(flag) return flags % (2 * flag) >= flag end
  return {
    flags = flags, paused = has(PAUSED), concurrency = has(CONCURRENCY) and concurrency,
    every = has(RATE) and every, burst = burst, at = at, -- ms from one start to the next; by which the last is paid for
    dealt = has(DEALT) and dealt, till = till, -- starts that were dealt to this shard, until when
    length = has(LENGTH) and length, drops = has(DROPS), closed = has(CLOSED), number = text:sub(rest),
  }
end

local function pack_gate(gate)
  return struct.pack(GATE, gate.flags, gate.concurrency or 0, gate.every or 0, gate.burst, gate.at, gate.dealt or 0,
    gate.till, gate.length or 0) .. gate.number
end

-- How many tasks of a queue may start now, of which *running* run; and when the next may, if only time decides that (GCRA).
local function room_of(gate, running)
  if gate.paused then return 0 end
  local room, next_ms = gate.concurrency and gate.concurrency - running or math.huge, nil
  if room > 0 and gate.every then
    local at = math.max(gate.at, now)
    room = math.min(room, math.floor((now - at) / gate.every + gate.burst + 1e-6))
    if room < 1 then next_ms = math.ceil(at + (1 - gate.burst) * gate.every) end
  elseif gate.dealt then
    room = math.min(room, gate.till > now and gate.dealt or 0)
  end
  return math.max(room, 0), next_ms
end

-- The flags that a task keeps from one lease to the next.
local function lasting(run)
  return (run.suspect and SUSPECT or 0) + (run.checkpointed and HAS_CHECKPOINT or 0)
end

local ALONE = { a = 'A', t = 'T' }

-- The letter of the lists that a task waits in: its lane's; that of a suspect, which runs alone, is a capital.
local function lane_of(head, run)
  return run and run.suspect and ALONE[head.lane] or head.lane
end

local NO_TOKEN = string.rep('\0', 12)

-- Collected writes.
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
-- by queue: how many came, and how many were leased by when they had been due (6 bytes).
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
  for queue, stamps in pairs(waited) do
    for stamp, many in pairs(stamps) do count_stat('W' .. step_of(now - read48(stamp, 1)) .. queue, many) end
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

-- A report of an attempt's end, from ARGV[at] on: head, value, and as its flags say a row of attempts (1), the id and
-- the record of a callback (2), lines of its log (16); 4: a time to live of its own; 8: there was progress;
-- the id and the record of a task that is made if this asks a running one to stop (64);
-- 32: only if the endpoint that holds the task has not been heard from in its time; 128: the row takes the place of the
-- last one, if that tells the same type of error. Returns the report, and the next place.
--   head  kind .. flags .. id (16) .. token (12) .. ms (6) .. the first five bytes of the ended record, any other report's
--         being zeros .. what is counted when it is accepted (see tallies.py; nothing: only that it ended)
--   kind  E: value is all of the record behind its time field | L: value is the outcome of a large record | others in step.lua
local function read_report(at)
  local head, flags = ARGV[at], ARGV[at]:byte(2)
  local report = {
    kind = head:sub(1, 1), id = head:sub(3, 18), token = head:sub(19, 30), ms = read48(head, 31), head5 = head:sub(37, 41),
    stat = head:sub(42), value = ARGV[at + 1], keeps = flags % 8 >= 4, progressed = flags % 16 >= 8,
    overdue = flags % 64 >= 32, repeated = flags >= 128,
  }
  at = at + 2
  if flags % 2 == 1 then report.row, at = ARGV[at], at + 1 end
  if flags % 4 >= 2 then report.callback, report.callback_record, at = ARGV[at], ARGV[at + 1], at + 2 end
  if flags % 32 >= 16 then report.log, at = ARGV[at], at + 1 end
  if flags % 128 >= 64 then report.notice, report.notice_record, at = ARGV[at], ARGV[at + 1], at + 2 end
  return report, at
end

-- The queue of a task that a report ends, and what ties it to others.
local function names_of(report)
  if report.kind == 'E' then return names(report.value, 2) end
  return names(redis.call('GETRANGE', prefix .. 't:' .. report.id, 12, 267), 1)
end

-- Lines that an attempt has logged go to `l:<id>`: how many it said (4) .. bytes kept (4), then the last of them.
-- *batch*: number of its first line (4; the highest: whatever comes next), lines, each ended by a newline. What is there
-- already is not added again.
local MOST_LOG_LINES, MOST_LOG_BYTES, NEXT = 200, 32768, 4294967295
local function keep_log(id, batch)
  local key = prefix .. 'l:' .. id
  local head = redis.call('LINDEX', key, 0)
  local said, bytes = struct.unpack('>I4I4', head or string.rep('\0', 8))
  local number, lines = struct.unpack('>I4', batch), head and redis.call('LRANGE', key, 1, -1) or {}
  local held, first = #lines, 1
  if number == NEXT then number = said end
  for line in batch:sub(5):gmatch('[^\n]+') do
    if number >= said then
      lines[#lines + 1] = line
      bytes, said = bytes + #line, number + 1
    end
    number = number + 1
  end
  if #lines == held then return end
  while first < #lines and (#lines - first >= MOST_LOG_LINES or bytes > MOST_LOG_BYTES) do
    bytes, first = bytes - #lines[first], first + 1
  end
  if head then redis.call('LPOP', key, math.min(first, held + 1)) end
  redis.call('RPUSH', key, unpack(lines, math.max(first, held + 1)))
  redis.call('LPUSH', key, struct.pack('>I4I4', said, bytes))
end

-- The row of attempts of a lease that ended.
local function row_of(run, outcome)
  return string.format('{"attempt":%d,"started_ms":%.0f,"finished_ms":%.0f,"worker":"%s","outcome":"%s"}',
    run.attempt, run.started, now, run.worker, outcome)
end

-- *row* of the attempt of *run* with the log that it kept, which is then nowhere else; *more* are lines that came with its
-- end. An attempt that logged has a row, even if its end needed none: it ended as *outcome*.
local function with_log(id, row, run, more, outcome)
  if more then keep_log(id, more) end
  if not more and not (run and run.logged) then return row end
  local lines = redis.call('LRANGE', prefix .. 'l:' .. id, 0, -1)
  if #lines == 0 then return row end
  redis.call('UNLINK', prefix .. 'l:' .. id)
  return string.format('%s,"log_said":%d,"log":[%s]}',
    (row or row_of(run, outcome)):sub(1, -2), struct.unpack('>I4', lines[1]), table.concat(lines, ',', 2))
end

-- Add a row to what became of a schedule's last 100 occurrences; schedule.py reads it. *rest*: a task's id, or a number (4).
local function note_run(member, kind, nominal, rest)
  local key = prefix .. 'sh:' .. member
  redis.call('LPUSH', key, kind .. pack48(nominal) .. now48 .. rest .. string.rep('\0', 16 - #rest))
  redis.call('LTRIM', key, 0, 99)
end

-- The unique key that the task has, and what that says; nil when it has none, or another task has it by now.
local function unique_key(id, ties)
  local hash = ties ~= '' and ties_of(ties).U
  local key = hash and prefix .. 'uniq:' .. hash
  local text = key and redis.call('GET', key)
  if text and text:sub(1, 16) == id then return key, text end
end

-- An ended task lets go of its unique key, unless that is kept for a time (claims.lua); *expiring* collects what expires.
local function untie(id, ties, expiring)
  if ties_of(ties).E then expiring[#expiring + 1] = id end
  local key, text = unique_key(id, ties)
  if key and text:sub(17, 17) ~= 'T' then redis.call('UNLINK', key) end
end

local ENDED = { S = 'succeeded', F = 'failed', C = 'cancelled', X = 'expired' }

-- End the tasks of *endings*: reports that were found good, each with `queue`, `from` ('r', 'q' or 's'), `run` when it
-- was leased before, `ran` when attempts may have been noted, and `checkpointed`. A callback is created here, by the script
-- that ends its task.
local function finish(endings)
  local lists, gone, ids, records, external, untied = { done = {}, dead = {}, exp = {} }, {}, {}, {}, {}, {}
  for _, report in ipairs(endings) do
    local id, key, state = report.id, prefix .. 't:' .. report.id, report.head5:sub(2, 2)
    if report.kind == 'L' then
      redis.call('SETRANGE', key, 0, report.head5 .. now48)
      redis.call('PEXPIRE', key, report.ms)
      redis.call('SET', prefix .. 'o:' .. id, report.value, 'PX', report.ms)
    else
      redis.call('SET', key, report.head5 .. now48 .. report.value, 'PX', report.ms)
    end
    local list = lists[state == 'F' and 'dead' or 'done']
    list[#list + 1], list[#list + 2] = now, id
    if report.keeps then append(lists, 'exp', now + report.ms) append(lists, 'exp', id) end
    local row = with_log(id, report.row, report.run, report.log, ENDED[state])
    if row then redis.call('RPUSH', prefix .. 'a:' .. id, row) end
    if row or report.ran then redis.call('PEXPIRE', prefix .. 'a:' .. id, report.ms) end
    if report.progressed or report.ran then redis.call('UNLINK', prefix .. 'p:' .. id) end
    if report.checkpointed then redis.call('UNLINK', prefix .. 'c:' .. id) end
    if report.ties ~= '' then untie(id, report.ties, untied) end
    if report.run and report.run.external then external[#external + 1] = id end
    if report.callback then ids[#ids + 1], records[#records + 1] = report.callback, report.callback_record end
    gone[#gone + 1] = id
    if report.ties ~= '' then tally_ties(report.queue, report.ties, -1) end
    tally(report.from .. ':' .. report.queue, -1)
    count_stat(report.stat ~= '' and report.stat or state .. NO_STEP .. report.queue .. '\1', 1)
    emit(state, id)
  end
  if #gone == 0 then return end
  for name, list in pairs(lists) do
    if #list > 0 then redis.call('ZADD', prefix .. name, unpack(list)) end
  end
  if #untied > 0 then redis.call('ZREM', prefix .. 'expiring', unpack(untied)) end
  redis.call('ZREM', prefix .. 'lease', unpack(gone))
  redis.call('HDEL', prefix .. 'run', unpack(gone))
  if #external > 0 then redis.call('HDEL', prefix .. 'ext', unpack(external)) end
  if #ids > 0 then create(ids, records) end
end
