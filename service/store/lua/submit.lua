-- Take in new tasks. One that exists already is left as it is: a submission may be sent again.
--
-- Moves    submitted -> scheduled | queued
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id, or id .. hash of the idempotency key (16) .. fingerprint of the submission (8); record; repeated
-- ARGV[n]  how long an idempotency key is remembered, ms (last argument)
-- Touches  t: idem: limits count and, through shared.lua, q: due: expiring made made: stat: wake: ev
-- Returns  {now ms, a status a task, id of the earlier task for each status 1 and 2, queue and how many tasks it has over its
--           length for each that drops its oldest ...}
--          0 taken in | 1 the key's earlier task stands | 2 as 1, and the submissions differ | 3 its queue takes none
--          | 4 its queue is full; what is not taken in leaves no trace

local last = #ARGV
local keys = {}
for i = 2, last - 1, 2 do keys[#keys + 1] = prefix .. 't:' .. ARGV[i]:sub(1, 16) end
local none_exists = redis.call('EXISTS', unpack(keys)) == 0

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

local statuses, earlier, ids, records, remembered, seen = {}, {}, {}, {}, {}, {}
for i = 2, last - 1, 2 do
  local id, status, key, known = ARGV[i]:sub(1, 16), '0', nil, nil
  if #ARGV[i] > 16 then
    key = prefix .. 'idem:' .. ARGV[i]:sub(17, 32)
    known = seen[key] or redis.call('GET', key)
    if known and known:sub(1, 16) ~= id then
      status = known:sub(17) == ARGV[i]:sub(33) and '1' or '2'
      earlier[#earlier + 1] = known:sub(1, 16)
    end
  end
  local is_new = status == '0' and (none_exists or redis.call('EXISTS', prefix .. 't:' .. id) == 0)
  if is_new then status = admitted(ARGV[i + 1]) end
  if key and status == '0' then
    seen[key] = known or (id .. ARGV[i]:sub(33))
    if not known then remembered[#remembered + 1] = {key, seen[key]} end
  end
  statuses[#statuses + 1] = status
  if is_new and status == '0' then
    ids[#ids + 1], records[#records + 1] = id, ARGV[i + 1]
  end
end

for _, pair in ipairs(remembered) do redis.call('SET', pair[1], pair[2], 'PX', ARGV[last]) end
if #ids > 0 then
  create(ids, records)
  write_collected()
end
local reply = {now, table.concat(statuses), table.concat(earlier)}
for queue, gate in pairs(gates) do
  if gate and gate.drops and gate.waiting > gate.length then
    reply[#reply + 1], reply[#reply + 2] = queue, gate.waiting - gate.length
  end
end
return reply
