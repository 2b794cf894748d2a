-- How new tasks claim unique keys, of which each belongs to one task at a time. Stands behind the others in scripts that
-- make tasks, which call `claim` before they write, and `write_claims` behind that.
--
-- uniq:<hash> says whose it is: id (16) .. how long (1) .. until, ms (6) .. since, ms (6); a task's tie C how it claims its key:
-- what to do when that is another's (1) .. how long it is to have it (1) .. ms (6) .. at most, ms (6)
--   how long    F until its task has ended | S until it has started | T until a time | Q until it is due: it waits for quiet
--   what to do  r answer the other task | x refuse | s change when the other is due | p take its place, while it waits
--               | d put the other off, and have it do this instead | l answer the other, which keeps the key for longer

local claimed, moves = {}, {}

-- Who has a key; nil when nobody does.
local function holder_of(key)
  local text = redis.call('GET', key)
  if not text then return nil end
  local id, how = text:sub(1, 16), text:sub(17, 17)
  local record, packed = redis.call('GETRANGE', prefix .. 't:' .. id, 0, 267), redis.call('HGET', prefix .. 'run', id)
  local head, run = #record > 13 and header(record), packed and read_run(packed)
  if head then head.own_lane, head.lane = head.lane, lane_of(head, run) end
  local is_alive = head and head.state == 'W'
  if how == 'T' and read48(text, 18) <= now then return nil end
  if how ~= 'T' and not is_alive then return nil end
  if (how == 'S' or how == 'Q') and run then return nil end
  if how == 'Q' and head.due <= now then return nil end
  return { id = id, since = read48(text, 24), head = head, run = run, waits = is_alive and not (run and run.held) }
end

local function text_of(id, how, till, since)
  return id .. how .. pack48(how == 'T' and till or 0) .. pack48(since)
end

-- Have the waiting *other* be due at *due_ms*, and be what *record* says, if that is given. Answers whether it can.
local function move(other, due_ms, record)
  local head = other.head
  local entry = due_entry(other.id, head)
  local is_scheduled = redis.call('ZSCORE', prefix .. 'due:' .. head.queue, entry)
  if not is_scheduled and head.generation == '\255' then return false end -- the next would be that of an entry left behind
  moves[other.id] = { other = other, due = due_ms, record = record, from = is_scheduled and 's' or 'q', entry = entry }
  return true
end

-- Whether the task *id*, which is not there yet, may be made; and whose its key is. *ending* ends the one that has it.
--   0 it may, and has its key from then on | D no, the other stands for it | X no, and it is refused
--   | E no, unless the other ends first | A no; ask again when this call has made the other
local function claim(id, record, ending)
  local _, tied = names(record, 13)
  local ties = tied ~= '' and ties_of(tied)
  if not ties or not ties.C then return '0' end
  local key, what, how = prefix .. 'uniq:' .. ties.U, ties.C:sub(1, 1), ties.C:sub(2, 2)
  local ms, most = read48(ties.C, 3), read48(ties.C, 9)
  local other = claimed[key] or holder_of(key)
  local last = other and most > 0 and other.since + most or math.huge
  if not other or (ending and ending.id == other.id and other.waits) then
    claimed[key] = { id = id, is_new = true, text = text_of(id, how, now + ms, now), ms = how == 'T' and ms }
    return '0', other
  elseif what == 'r' then
    return 'D', other
  elseif what == 'x' then
    return 'X', other
  elseif other.is_new then
    return 'A', other
  elseif what == 'l' then
    local till = math.min(now + ms, last)
    other.text, other.ms = text_of(other.id, how, till, other.since), till - now
    claimed[key] = other
    return 'D', other
  elseif not other.waits then
    return 'X', other
  elseif what == 'p' then
    return 'E', other
  end
  local head = header(record)
  local due_ms = head.state == 'D' and now + head.due or math.max(head.due, now)
  if what == 'd' then due_ms = math.min(now + ms, last) end
  return move(other, due_ms, what == 'd' and record) and 'D' or 'X', other
end

-- The task is not made after all.
local function unclaim(id)
  for key, one in pairs(claimed) do
    if one.id == id and one.is_new then claimed[key] = nil end
  end
end

local function write_move(id, one)
  local head, record, key = one.other.head, one.record, prefix .. 't:' .. id
  local moved = record and header(record) or head
  moved.generation = one.from == 's' and head.generation or string.char(head.generation:byte() + 1)
  tally(one.from .. ':' .. head.queue, -1)
  if one.from == 's' then redis.call('ZREM', prefix .. 'due:' .. head.queue, one.entry) end
  if record then
    redis.call('SET', key, record:sub(1, 1) .. 'W' .. moved.generation .. record:sub(4, 5) .. pack48(one.due) .. record:sub(12))
    tally_ties(head.queue, head.ties, -1)
    tally_ties(moved.queue, moved.ties, 1)
    local expires = ties_of(moved.ties).E
    redis.call('ZREM', prefix .. 'expiring', id)
    if expires then redis.call('ZADD', prefix .. 'expiring', read48(expires, 1), id) end
  else
    redis.call('SETRANGE', key, 2, moved.generation .. head.priority .. head.own_lane .. pack48(one.due))
  end
  enqueue(id, moved, one.due, false)
end

local function write_claims()
  for key, one in pairs(claimed) do
    if one.ms then
      redis.call('SET', key, one.text, 'PX', one.ms)
    else
      redis.call('SET', key, one.text)
    end
  end
  for id, one in pairs(moves) do write_move(id, one) end
end
