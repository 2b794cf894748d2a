-- Take in new tasks. One that exists already is left as it is: a submission may be sent again.
--
-- Moves    submitted -> scheduled | queued; scheduled -> queued; queued -> scheduled; scheduled | queued -> cancelled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how long an idempotency key is remembered, ms
-- ARGV[3+] id .. nothing, or hash of the idempotency key (16) .. fingerprint of the submission (8) .. nothing, or U when it
--          claims a unique key, or R when it does so in the place of another; record; behind an R the report that ends that
--          other, waiting task; repeated
-- Touches  t: idem: limits count due: and, through what stands before it, uniq: run o: a: p: c: l: q: ext lease done dead exp
--          expiring made made: stat: wake: ev
-- Returns  {now ms, a status a task, id of another task for each status but 0, 3 and 4, queue and how many tasks it has over its
--           length for each that drops its oldest ...}
--          0 taken in | 1 the idempotency key's earlier task stands | 2 as 1, and the submissions differ | 3 its queue takes none
--          | 4 its queue is full | a letter: another task has its unique key, see claims.lua; what is not taken in leaves no trace

local REPLACES = 82 -- R

-- The gates of queues, with how many tasks wait in each that has a length; false for none.
local has_gates, gates = redis.call('EXISTS', prefix .. 'limits') == 1, {}
local function gate_of(queue)
  if gates[queue] == nil then
    local text = redis.call('HGET', prefix .. 'limits', queue)
    gates[queue] = text and read_gate(text)
    if text and gates[queue].length then
      local counted = redis.call('HMGET', prefix .. 'count', 'q:' .. queue, 's:' .. queue)
      gates[queue].waiting = tonumber(counted[1] or 0) + tonumber(counted[2] or 0)
    end
  end
  return gates[queue]
end

-- Whether the queue of a new task takes it: its status.
local function admitted(record)
  local gate = has_gates and gate_of((names(record, 13)))
  if gate and gate.closed then return '3' end
  if gate and gate.length then
    if gate.waiting >= gate.length and not gate.drops then return '4' end
    gate.waiting = gate.waiting + 1
  end
  return '0'
end

-- The end of a waiting task, for `finish`.
local function with_end(report, other)
  report.queue, report.ties, report.from = other.head.queue, other.head.ties, 'q'
  report.run, report.ran, report.progressed = other.run, other.run and true, true
  report.checkpointed = other.run and other.run.checkpointed
  report.due = { prefix .. 'due:' .. report.queue, due_entry(other.id, other.head) }
  if redis.call('ZSCORE', report.due[1], report.due[2]) then report.from = 's' end
  return report
end

-- Most tasks are an id and a record and nothing more: they cost no table.
local places, keys, ends, at = {}, {}, {}, 3
while at <= #ARGV do
  local head, place = ARGV[at], at
  places[#places + 1], keys[#keys + 1] = place, prefix .. 't:' .. head:sub(1, 16)
  at = at + 2
  if #head % 8 == 1 and head:byte(-1) == REPLACES then ends[place], at = read_report(at) end
end
local none_exists = redis.call('EXISTS', unpack(keys)) == 0

local statuses, others, ids, records, remembered, endings = {}, {}, {}, {}, {}, {}

-- What becomes of the task at *place*, which is not there yet; and whose its unique key is, if it has one.
local function take(place, id)
  local record, status, other = ARGV[place + 1], '0', nil
  if #ARGV[place] % 8 == 1 then status, other = claim(id, record, ends[place]) end
  if status ~= '0' then return status, other.id end
  status = admitted(record)
  if status ~= '0' then
    unclaim(id)
    return status
  end
  ids[#ids + 1], records[#records + 1] = id, record
  if other then endings[#endings + 1] = with_end(ends[place], other) end
  return status
end

for i, place in ipairs(places) do
  local head = ARGV[place]
  local id, status, key, known, other = head:sub(1, 16), '0', nil, nil, nil
  if #head > 39 then
    key = prefix .. 'idem:' .. head:sub(17, 32)
    known = remembered[key] or redis.call('GET', key)
  end
  if known and known:sub(1, 16) ~= id then
    status, other = known:sub(17) == head:sub(33, 40) and '1' or '2', known:sub(1, 16)
  elseif none_exists or redis.call('EXISTS', keys[i]) == 0 then
    status, other = take(place, id)
  end
  if key and not known and (status == '0' or status == 'D') then
    remembered[key] = (other or id) .. head:sub(33, 40)
  end
  statuses[i] = status
  others[#others + 1] = other
end

for key, text in pairs(remembered) do redis.call('SET', key, text, 'PX', ARGV[2]) end
finish(endings)
for _, report in ipairs(endings) do redis.call('ZREM', report.due[1], report.due[2]) end
if #ids > 0 then create(ids, records) end
write_claims()
write_collected()
local reply = {now, table.concat(statuses), table.concat(others)}
for queue, gate in pairs(gates) do
  if gate and gate.drops and gate.waiting > gate.length then
    reply[#reply + 1], reply[#reply + 2] = queue, gate.waiting - gate.length
  end
end
return reply
