-- Set what holds back the tasks of a queue in this shard; or only hear of it, so that no older change comes behind.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  queue
-- ARGV[3]  number of the change, 19 digits: a lower one than the last comes too late, the last one was made already
-- ARGV[4]  the gate as shared.lua reads it, without a number; empty: none; left out: as it is
-- ARGV[5]  1: of its concurrency, no less than run now (other shards get the rest, and it must not be given twice)
-- Touches  limits count and, through what stands before it, q: wake: tied
-- Returns  {1 as asked, 0 too late; concurrency that it has now or -1; how many run; how many wait; until when starts are paid
--           for, ms}

local queue, field = ARGV[2], prefix .. 'limits'
local text = redis.call('HGET', field, queue)
local before = text and read_gate(text)
local counted = redis.call('HMGET', prefix .. 'count', 'r:' .. queue, 'q:' .. queue)
local running, waiting = tonumber(counted[1] or 0), tonumber(counted[2] or 0)

local status, gate = 1, before
if before and before.number > ARGV[3] then
  status = 0
elseif ARGV[4] == '' then
  gate = nil
  redis.call('HDEL', field, queue)
elseif ARGV[4] and not (before and before.number == ARGV[3]) then
  gate = read_gate(ARGV[4] .. ARGV[3])
  if gate.concurrency and ARGV[5] == '1' then gate.concurrency = math.max(gate.concurrency, running) end
  if gate.every and gate.at == 0 then -- starts that were paid for stay so, at the new price
    gate.at = before and before.every and math.min(before.at, now + gate.every * gate.burst) or 0
  end
  redis.call('HSET', field, queue, pack_gate(gate))
elseif not ARGV[4] and before then
  before.number = ARGV[3]
  redis.call('HSET', field, queue, pack_gate(before))
end
if status == 1 and ARGV[4] and waiting > 0 and (not gate or (gate.every and not gate.paused) or room_of(gate, running) > 0) then
  wake_lanes(queue)
  write_collected()
end
return {status, gate and gate.concurrency or -1, running, waiting, gate and math.ceil(gate.at) or 0}
