-- How tasks end: reports of attempts, what attempts have logged, and all that goes with an end.
--
-- Not a script of its own: scripts.py puts it behind lines.lua in the scripts that end tasks, or delete or log of them.

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
