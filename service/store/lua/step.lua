-- A worker's one round trip: record what it finished, promote what is due, lease what it has room for.
--
-- Moves    running -> succeeded | failed | cancelled | expired | scheduled | queued; cancelling -> succeeded | failed | cancelled;
--          scheduled -> queued; queued -> running
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  session (8 bytes) .. sequence number (4 bytes): the lease token of what this call leases
-- ARGV[3]  worker id
-- ARGV[4]  lease length, ms
-- ARGV[5]  how many finished tasks follow
-- then     for each: a report, see endings.lua; more kinds, whose value is empty:
--          R again in ms, attempt spent | D again in ms, attempt not spent | B at once, at the front, not spent
--          | K as B, after a crash, which is counted; whether the task may crash once more was decided before
--          | H handed over to the endpoint, which is to be heard from within ms; value: until when at the latest (6)
-- then     for each want: queue, lane, how many; repeated. The room of a lane is its largest want, shared by its queues,
--          first come; 128 tasks altogether. The same queue and lane may come twice: first its share, then, behind the
--          shares of the others, all the room there is. A want of a capital lane brings one suspect (see reap.lua),
--          and nothing beside it
--          A queue that is paused, or may start no more tasks now, gives none; see limit.lua
-- Touches  t: run lease ext a: c: sess: q: due: wake: limits count tied lines: and, through what stands before it, l: o: p: done dead exp expiring uniq: made made: stat: ev
-- Returns  {now ms, a status a finished task, earliest due ms or -1, 1 when work was left behind + 2 when suspects were + 4 when
--           a leased task has a checkpoint + 8 when the call was full before every want had been looked at,
--           id .. attempt (2 bytes) .. crashes, undelivered, flags (1 byte each) .. record of each
--           leased task, followed by its checkpoint where the flags name one ...}
--          1 recorded | 0 lease lost | 2 not recorded: cancellation was asked for, end it as cancelled
-- The same session and number again answer what they answered first; a lower number than the last comes too late
-- and does nothing.

local session, worker, lease_ms = ARGV[2]:sub(1, 8), ARGV[3], tonumber(ARGV[4])
local session_key = prefix .. 'sess:' .. session

local before = redis.call('GET', session_key)
if before and before:sub(1, 12) == ARGV[2] then
  local length = struct.unpack('>I2', before, 13)
  local reply = {now, before:sub(15, 14 + length), now, 9}
  for at = 15 + length, #before, 16 do
    local id = before:sub(at, at + 15)
    local record, run = redis.call('GET', prefix .. 't:' .. id), redis.call('HGET', prefix .. 'run', id)
    if record and run and run:sub(1, 12) == ARGV[2] then
      reply[#reply + 1] = id .. run:sub(13, 17) .. record
      if read_run(run).checkpointed then
        reply[4], reply[#reply + 1] = 13, redis.call('GET', prefix .. 'c:' .. id) or ''
      end
    end
  end
  return reply
elseif before and struct.unpack('>I4', before, 9) > struct.unpack('>I4', ARGV[2], 9) then
  return {now, string.rep('0', ARGV[5]), -1, 0}
end

local function type_of_error(row)
  return (row or ''):match('"type":"(%w+)"')
end

-- Whether the endpoint that finishes the task still has time to be heard from.
local function has_time(id, run)
  local noted = run.external and redis.call('HGET', prefix .. 'ext', id)
  return noted and read48(noted, 7) > now
end

-- The list or line that a task waits in.
local function list_of(head)
  local home, flow, group = head.queue .. ':' .. head.lane .. ':' .. head.priority, line_of(head.ties)
  return (flow == '' and group == '') and prefix .. 'q:' .. home or with_lines().line_key(home, group, flow)
end

-- Read and check everything; write behind that.
local at, reports, reported = 6, {}, {}
for i = 1, tonumber(ARGV[5]) do
  reports[i], at = read_report(at)
  reported[i] = reports[i].id
end
local statuses, endings, again, handed, fronted = {}, {}, {}, {}, {}
local runs = #reported > 0 and redis.call('HMGET', prefix .. 'run', unpack(reported)) or {}
for i, report in ipairs(reports) do
  local run = runs[i] and runs[i]:sub(1, 12) == report.token and read_run(runs[i])
  if not run or not run.held or (report.overdue and has_time(report.id, run)) then
    statuses[i] = '0'
  elseif report.kind == 'E' or report.kind == 'L' then
    statuses[i] = '1'
    report.queue, report.ties = names_of(report)
    report.from = 'r'
    report.run, report.ran = run, run.ran
    report.progressed = report.progressed or run.progressed
    report.checkpointed = run.checkpointed
    if report.ties ~= '' then with_lines().release(report.ties, report.id) end
    endings[#endings + 1] = report
  elseif report.kind == 'H' then -- also when cancellation was asked for: the endpoint is told when it is heard from
    statuses[i] = '1'
    report.run = run
    handed[#handed + 1] = report
  elseif run.cancelling then
    statuses[i] = '2'
  else
    statuses[i] = '1'
    local head = header(redis.call('GETRANGE', prefix .. 't:' .. report.id, 0, 267))
    -- A suspect whose attempt came to an end of its own has killed nothing.
    run.suspect = run.suspect and report.kind ~= 'R' and report.kind ~= 'D'
    head.lane = lane_of(head, run)
    report.run, report.head = run, head
    report.in_front = report.kind == 'B' or report.kind == 'K'
    if head.ties ~= '' then with_lines().release(head.ties, report.id) end
    if report.in_front then fronted[list_of(head)] = true end
    again[#again + 1] = report
  end
end

local wants, rooms, promoted, next_due, left = {}, {}, {}, math.huge, 0
local tied_fields = {}
if made_lines then made_lines.open_freed() end
for i = at, #ARGV, 3 do
  local queue, lane, room = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  wants[#wants + 1] = { queue = queue, lane = lane, room = room, alone = lane:upper() == lane }
  tied_fields[#tied_fields + 1] = queue .. ':' .. lane
  rooms[lane] = math.max(rooms[lane] or 0, room)
  if not promoted[queue] then
    local key = prefix .. 'due:' .. queue
    promoted[queue] = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 128)
    local after = redis.call('ZRANGE', key, #promoted[queue], #promoted[queue], 'WITHSCORES')
    if after[2] then next_due = math.min(next_due, tonumber(after[2])) end
    if #promoted[queue] > 0 then left = 1 end
    for _, entry in ipairs(promoted[queue]) do
      if entry:sub(1, 1) == 'F' then
        promoted[queue] = with_lines().redeem(queue, promoted[queue])
        break
      end
    end
  end
end
local tied = #wants > 0 and redis.call('HMGET', prefix .. 'tied', unpack(tied_fields)) or {}

-- Queues that are held back, each with the room it has now. What ends or goes back in this call makes room.
local gates = {}
local function read_gates()
  local queues, known, freed = {}, {}, {}
  local function note(queue)
    if not known[queue] then
      known[queue], queues[#queues + 1] = true, queue
    end
  end
  for _, want in ipairs(wants) do note(want.queue) end
  for _, list in ipairs({ endings, again }) do
    for _, report in ipairs(list) do
      local queue = report.queue or report.head.queue
      freed[queue] = (freed[queue] or 0) + 1
      note(queue)
    end
  end
  for i, text in ipairs(#queues > 0 and redis.call('HMGET', prefix .. 'limits', unpack(queues)) or {}) do
    if text then
      local queue, gate = queues[i], read_gate(text)
      local running = gate.concurrency and redis.call('HGET', prefix .. 'count', 'r:' .. queue) or 0
      gate.running, gate.taken = running - (freed[queue] or 0), 0
      gate.room = room_of(gate, gate.running)
      gates[queue] = gate
      if freed[queue] and not promoted[queue] then left = 1 end -- a worker that looks for none yet
    end
  end
end
read_gates()

-- Candidates of a want, best priority first. An entry whose task moved on is skipped and taken off the list.
-- Few are read at first, so that large records are not read for nothing.
local leased, taken, runs_to_set, leases, bytes, examined = {}, {}, {}, {}, 0, 0
local checkpoints, has_checkpoints = {}, 0
local is_alone, suspects, cut, AT_ONCE = false, 0, 0, string.rep('\0', 6)
local function is_full()
  return is_alone or #leased >= 128 or bytes > 1048576 or examined >= 1024
end
local function leave(want)
  if is_full() then cut = 8 end
  if want.alone then suspects = 2 else left = 1 end
  woken[prefix .. 'wake:' .. want.queue .. ':' .. want.lane] = true
end
local function is_over(want)
  return rooms[want.lane] == 0 or is_full() or (want.alone and #leased > 0)
end
-- What goes to the front of a list now would be trimmed in place of what was taken: the next call takes.
local function is_fronted(want, key)
  if not fronted[key] then return false end
  rooms[want.lane], cut = 0, 8
  leave(want)
  return true
end
-- Lease a task if *entry* is still that of one that waits; answers whether it is.
local function start(want, entry, record, packed)
  local id, run = entry:sub(3), packed and read_run(packed)
  examined, bytes = examined + 1, bytes + (record and #record or 0)
  if not record or record:sub(2, 3) ~= 'W' .. entry:sub(2, 2) or (run and run.held) or taken[id] then return false end
  local due, subject, subjects = id:sub(1, 6), subject_of(record), waited[want.queue] or {}
  if run or record:sub(6, 11) ~= AT_ONCE then -- what waits again has run before
    due = pack48(math.max(read48(record, 6), read48(id, 1), run and run.started or 0))
  end
  local stamps = subjects[subject] or {}
  waited[want.queue], subjects[subject], stamps[due] = subjects, stamps, (stamps[due] or 0) + 1
  run = run or { attempt = 0, crashes = 0, undelivered = 0 }
  local checkpoint = run.checkpointed and redis.call('GET', prefix .. 'c:' .. id)
  run.checkpointed = checkpoint and true
  if checkpoint then
    checkpoints[id], has_checkpoints = checkpoint, 4
    bytes = bytes + #checkpoint
  end
  local new = pack_run(ARGV[2], run.attempt + 1, run.crashes, run.undelivered,
    HELD + (run.ran and RAN or 0) + lasting(run), now, worker)
  is_alone = want.alone
  taken[id] = id .. new:sub(13, 17) .. record
  leased[#leased + 1] = id
  runs_to_set[#runs_to_set + 1], runs_to_set[#runs_to_set + 2] = id, new
  leases[#leases + 1], leases[#leases + 2] = now + lease_ms, id
  rooms[want.lane], want.room = rooms[want.lane] - 1, want.room - 1
  tally('q:' .. want.queue, -1)
  tally('r:' .. want.queue, 1)
  emit('r', id)
  return true
end
-- Take tasks without ties, up to *limit* of them and none that came in later than *last_ms*. Answers whether nothing more
-- may be taken, and how many were.
local function take(want, priority, limit, last_ms)
  local key, most, many = prefix .. 'q:' .. want.queue .. ':' .. want.lane .. ':' .. priority, 4, 0
  local skipped = trims[key] or 0
  if is_fronted(want, key) then return true, 0 end
  while many < limit do
    local entries = redis.call('LRANGE', key, skipped, skipped + math.min(rooms[want.lane], want.room, most, limit))
    if #entries == 0 then break end
    local entry_ids, keys = {}, {}
    for i, entry in ipairs(entries) do
      entry_ids[i] = entry:sub(3)
      keys[i] = prefix .. 't:' .. entry_ids[i]
    end
    local records, entry_runs = redis.call('MGET', unpack(keys)), redis.call('HMGET', prefix .. 'run', unpack(entry_ids))
    for i, entry in ipairs(entries) do
      if is_over(want) or want.room == 0 then
        if is_over(want) then leave(want) end -- else it is wanted again
        trims[key] = skipped
        return true, many
      end
      if many == limit or (last_ms and read48(entry, 3) > last_ms) then
        trims[key] = skipped
        return false, many
      end
      skipped = skipped + 1
      if start(want, entry, records[i], entry_runs[i]) then many = many + 1 end
    end
    most = math.min(most * 4, 128)
  end
  trims[key] = skipped
  return false, many
end
-- Take from a home where tied tasks wait: in turn, group by group. Answers whether nothing more may be taken.
local function take_in_turn(want, priority)
  local lines = with_lines()
  -- Take the first task of the line whose turn it is, if its flow key lets it start. Answers whether nothing more may be taken.
  local function take_from_line(want, home, turn)
    local group, flow = turn.group, turn.flow
    local key = lines.line_key(home, group, flow)
    if is_fronted(want, key) then return true end
    if flow ~= '' then
      local may, at = lines.may_start(flow)
      if not may then
        examined = examined + 1
        lines.park(home, group, flow, turn.tag, at)
        return false
      end
    end
    local skipped = trims[key] or 0
    local two = redis.call('LRANGE', key, skipped, skipped + 1)
    local entry, following = two[1], two[2]
    if entry then
      trims[key] = skipped + 1
      local id = entry:sub(3)
      if start(want, entry, redis.call('GET', prefix .. 't:' .. id), redis.call('HGET', prefix .. 'run', id)) then
        if flow ~= '' then lines.note_start(flow, id) end
        lines.move_on(home, turn, 1)
      end
    end
    if following then
      redis.call('ZADD', prefix .. 'lines:' .. home .. ':' .. group, read48(following, 3), flow)
    else
      lines.drop_line(home, group, flow)
    end
    if flow ~= '' then lines.pass_on(flow, home) end
  end
  local home, is_bare = want.queue .. ':' .. want.lane .. ':' .. priority, false
  local plain = prefix .. 'q:' .. home
  while true do
    local turn = lines.turn_of(home, is_bare)
    if not turn then return (take(want, priority, math.huge)) end
    if is_over(want) or want.room == 0 then
      if is_over(want) then leave(want) end
      return true
    end
    local first = turn.group == '' and not is_bare and redis.call('LINDEX', plain, trims[plain] or 0)
    if first and read48(first, 3) <= turn.ms then
      local is_done, many = take(want, priority, turn.only and math.huge or 1, turn.ms)
      lines.move_on(home, turn, many)
      if is_done then return true end
    elseif turn.flow then
      if take_from_line(want, home, turn) then return true end
    else
      is_bare = true
    end
  end
end
local dry = {}
for i, want in ipairs(wants) do
  local name, lists, has_more = want.queue .. ':' .. want.lane, {}, false
  -- Most lists are empty: one look for all priorities.
  for priority = 9, 0, -1 do lists[#lists + 1] = prefix .. 'q:' .. name .. ':' .. priority end
  if not dry[name] and (tied[i] or redis.call('EXISTS', unpack(lists)) > 0) then
    local gate = gates[want.queue]
    if gate and gate.room == 0 then
      gate.has_waiting = true
    elseif is_full() then
      leave(want)
      has_more = true
    else
      local before = #leased
      if gate then want.room = math.min(want.room, gate.room) end
      for priority = 9, 0, -1 do
        local is_tied = tied[i] and tied[i]:find(priority, 1, true)
        has_more = is_tied and take_in_turn(want, priority) or (not is_tied and take(want, priority, math.huge))
        if has_more then break end
      end
      if gate then
        gate.taken, gate.room = gate.taken + #leased - before, gate.room - (#leased - before)
        gate.has_waiting = gate.has_waiting or (has_more and gate.room == 0)
      end
    end
  end
  dry[name] = not has_more
end

-- Writes. What was taken from lists goes last.
local AGAIN = { R = 'retried', D = 'deferred', B = 'released', K = 'crashed' }
finish(endings)
for _, report in ipairs(handed) do
  local run, last = report.run, read48(report.value, 1)
  local deadline = math.max(math.min(now + report.ms, last), now)
  redis.call('HSET', prefix .. 'run', report.id, pack_run(run.token, run.attempt, run.crashes, run.undelivered,
    run.flags + (run.confirmed and 0 or CONFIRMED) + (run.external and 0 or EXTERNAL), run.started, run.worker))
  redis.call('HSET', prefix .. 'ext', report.id, pack48(report.ms) .. pack48(deadline) .. pack48(last))
  redis.call('ZADD', prefix .. 'lease', math.min(deadline, now + LONGEST_LEASE), report.id)
end
for _, report in ipairs(again) do
  local run, spent, crashed = report.run, report.kind == 'R' and 0 or 1, report.kind == 'K' and 1 or 0
  redis.call('HSET', prefix .. 'run', report.id,
    pack_run(NO_TOKEN, run.attempt - spent, run.crashes + crashed, run.undelivered,
      RAN + lasting(run), run.started, run.worker))
  if run.checkpointed then redis.call('PEXPIRE', prefix .. 'c:' .. report.id, report.ms + CHECKPOINT_MS) end
  if run.external then redis.call('HDEL', prefix .. 'ext', report.id) end
  redis.call('ZREM', prefix .. 'lease', report.id)
  redis.call('SETRANGE', prefix .. 't:' .. report.id, 5, pack48(now + report.ms))
  local row = with_log(report.id, report.row, run, report.log, AGAIN[report.kind])
  local attempts = prefix .. 'a:' .. report.id
  if row and report.repeated and type_of_error(row) == type_of_error(redis.call('LINDEX', attempts, -1)) then
    redis.call('LSET', attempts, -1, row)
  elseif row then
    redis.call('RPUSH', attempts, row)
    redis.call('LTRIM', attempts, -100, -1)
  end
  tally('r:' .. report.head.queue, -1)
  if report.stat ~= '' then count_stat(report.stat, 1) end
  enqueue(report.id, report.head, now + report.ms, report.in_front)
  if report.ms > 0 then next_due = math.min(next_due, now + report.ms) else left = 1 end
end
for queue, entries in pairs(promoted) do
  if #entries > 0 then
    for _, entry in ipairs(entries) do
      local id, ties = entry:sub(3, 18), ''
      if entry:sub(1, 1) == 'L' then ties = header(redis.call('GETRANGE', prefix .. 't:' .. id, 0, 267)).ties end
      tally('s:' .. queue, -1)
      enqueue(id, { generation = entry:sub(2, 2), priority = entry:sub(19, 19), lane = entry:sub(20), queue = queue,
        ties = ties }, now, false)
    end
  end
end
for queue, gate in pairs(gates) do
  if gate.taken > 0 and (gate.every or gate.dealt) then
    if gate.every then gate.at = math.max(gate.at, now) + gate.taken * gate.every end
    if gate.dealt then gate.dealt = gate.dealt - gate.taken end
    redis.call('HSET', prefix .. 'limits', queue, pack_gate(gate))
  end
  if gate.has_waiting then
    local _, next_ms = room_of(gate, gate.running + gate.taken)
    next_due = math.min(next_due, next_ms or math.huge)
  end
end
if #leased > 0 then
  redis.call('HSET', prefix .. 'run', unpack(runs_to_set))
  redis.call('ZADD', prefix .. 'lease', unpack(leases))
end
for id in pairs(checkpoints) do redis.call('PEXPIRE', prefix .. 'c:' .. id, CHECKPOINT_MS) end
local status = table.concat(statuses)
if #leased > 0 or #reports > 0 then
  redis.call('SET', session_key, ARGV[2] .. struct.pack('>I2', #status) .. status .. table.concat(leased), 'PX', 120000)
end
wake_freed()
write_collected()
for queue, entries in pairs(promoted) do
  if #entries > 0 then redis.call('ZREM', prefix .. 'due:' .. queue, unpack(entries)) end
end
for key, skipped in pairs(trims) do
  if skipped > 0 then redis.call('LTRIM', key, skipped, -1) end
end
next_due = math.min(next_due, next_ticket)
local reply = {now, status, next_due < math.huge and next_due or -1, left + suspects + has_checkpoints + cut}
for _, id in ipairs(leased) do
  reply[#reply + 1] = taken[id]
  reply[#reply + 1] = checkpoints[id]
end
return reply
