-- What every script starts with: the clock, and reading headers, runs and gates.
--
-- Not a script of its own: scripts.py puts it before each one, and writes.lua behind it.
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

-- An entry of `run`; task.py reads the same bytes. Of most tasks the only flag is that they are held, and a table is made
-- for as many fields as it begins with.
local function read_run(text)
  local attempt, crashes, undelivered, flags, high, low = struct.unpack('>I2BBBI2I4', text, 13)
  if undelivered >= 128 then undelivered, flags = undelivered - 128, flags + EXTERNAL end -- the ninth flag stands there
  local run = {
    token = text:sub(1, 12), attempt = attempt, crashes = crashes, undelivered = undelivered, flags = flags,
    held = flags % 2 == 1, started = high * 4294967296 + low, worker = text:sub(24),
  }
  if flags > HELD then
    run.confirmed, run.cancelling, run.progressed = flags % 4 >= 2, flags % 8 >= 4, flags % 16 >= 8
    run.ran, run.suspect, run.checkpointed = flags % 32 >= 16, flags % 64 >= 32, flags % 128 >= 64
    run.logged, run.external = flags % 256 >= 128, flags >= 256
  end
  return run
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
