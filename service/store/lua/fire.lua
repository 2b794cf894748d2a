-- Fire occurrences of schedules: create their tasks, and move the schedules on. One that has moved since it was read
-- is left as it is, so that any number of schedulers fires each occurrence once.
--
-- Moves    submitted -> queued; scheduled -> queued; queued -> scheduled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] member, head, record of the task (empty for kind m); repeated
--   head  kind .. overlap .. version (4) .. next occurrence as read (6) .. next one then (6) .. when that is due (6) ..
--         most runs (4) .. occurrence (6) .. id of its task (16), or how many were missed (4)
--   kind     f the next occurrence | p one that waits for its turn | r by hand | m missed, none is fired
--   overlap  what to do while the last task has not ended: a fire all the same | s skip | q wait for its end | c cancel it
-- Touches  s: sh: sched t: and, through what stands before it, uniq: run q: due: count expiring made made: stat: wake: ev
-- Returns  {now ms, a status for each, ids of the tasks to be cancelled first, or which have the unique key of one run by hand}
--          0 it has moved, or is no more | F fired | S skipped | Q waits | M missed | C cancel the last task, then again

local NO_TASK, LOOK_MS = string.rep('\0', 16), 1000
local statuses, blocking, ids, records = {}, {}, {}, {}

local function fire(member, head, task)
  local key = prefix .. 's:' .. member
  local kind, overlap, version = head:sub(1, 1), head:sub(2, 2), struct.unpack('>I4', head, 3)
  local nominal, rest = read48(head, 29), head:sub(35)
  local found = redis.call('GETRANGE', key, 0, 43)
  if found == '' or struct.unpack('>I4', found, 3) ~= version then return '0' end
  local state, next_ms, last_ms, runs, pending, last =
    found:sub(2, 2), read48(found, 7), read48(found, 13), struct.unpack('>I4', found, 19), read48(found, 23), found:sub(29, 44)
  local is_next = kind == 'f' or kind == 'm'
  if is_next and (state ~= 'A' or next_ms ~= read48(head, 7)) then return '0' end
  if kind == 'p' and (state ~= 'A' or pending ~= nominal) then return '0' end
  if kind == 'r' and redis.call('EXISTS', prefix .. 't:' .. rest) == 1 then return 'F' end -- this call is sent again

  local most = struct.unpack('>I4', head, 25)
  local is_over = most > 0 and runs >= most -- the bound was lowered since
  local busy = last ~= NO_TASK and redis.call('GETRANGE', prefix .. 't:' .. last, 1, 1) == 'W'
  local status = kind == 'm' and 'M' or 'F'
  if is_over and kind ~= 'r' then
    status = '0'
  elseif busy and kind == 'f' and overlap == 'c' then
    blocking[#blocking + 1] = last
    return 'C'
  elseif busy and kind == 'f' and overlap ~= 'a' then
    status = (overlap == 'q' and pending == 0) and 'Q' or 'S'
    if status == 'Q' then pending = nominal end
  elseif busy and kind == 'p' then
    status = 'Q'
  end

  local made, other = status == 'F' and redis.call('EXISTS', prefix .. 't:' .. rest) == 0, nil
  if made then
    local answer
    answer, other = claim(rest, task)
    if answer == 'E' then
      blocking[#blocking + 1] = other.id
      return 'C'
    elseif answer ~= '0' then -- its unique key is another's
      made, status = false, 'S'
      if kind == 'r' then blocking[#blocking + 1] = other.id end
      if kind == 'p' then pending = 0 end
    end
  end

  if is_next then next_ms = read48(head, 13) end
  if status == 'F' then
    if made then ids[#ids + 1], records[#records + 1] = rest, task end
    last, last_ms = rest, nominal
    if kind == 'p' then pending = 0 end
    if kind == 'f' or kind == 'p' then runs = runs + 1 end
    is_over = most > 0 and runs >= most
  end
  if is_over then next_ms, pending = 0, 0 end
  if status ~= '0' and (is_next or status == 'F' or other) then
    local letter = status == 'F' and kind == 'r' and 'R' or status
    note_run(member, letter, nominal, (status == 'S' or status == 'Q') and (other and other.id or last) or rest)
  end

  local due = (is_next or kind == 'p') and read48(head, 19) or tonumber(redis.call('ZSCORE', prefix .. 'sched', member) or next_ms)
  if pending > 0 then due = math.min(next_ms > 0 and due or math.huge, now + LOOK_MS) end
  if state == 'A' and next_ms == 0 and pending == 0 then state = 'E' end
  if state == 'A' then
    -- Never in the past: with much to catch up with it goes behind the others that are due.
    redis.call('ZADD', prefix .. 'sched', math.max(due, now), member)
  else
    redis.call('ZREM', prefix .. 'sched', member)
  end
  redis.call('SETRANGE', key, 0, found:sub(1, 1) .. state .. found:sub(3, 6) .. pack48(next_ms) .. pack48(last_ms)
    .. struct.pack('>I4', runs) .. pack48(pending) .. last)
  return status
end

for i = 2, #ARGV, 3 do statuses[#statuses + 1] = fire(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
if #ids > 0 then create(ids, records) end
write_claims()
write_collected()
return { now, table.concat(statuses), table.concat(blocking) }
