-- Change when waiting tasks are due, and their priorities. A task gets a new generation, by which its old entry is
-- known for one that is to be skipped.
--
-- Moves    scheduled -> queued; queued -> scheduled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id (16) .. what to change: 1 when it is due, 2 its priority, 3 both (1 byte) .. due, ms (6; 0: now) .. priority (1)
-- Touches  t: run due: and, through what stands before it, q: count wake: ev
-- Returns  a status a task: 1 changed | 2 it runs | 3 it has ended | 4 it has no generation left | 0 no such task

local statuses, moves, met, ids = {}, {}, {}, {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i]:sub(1, 16) end
local runs = redis.call('HMGET', prefix .. 'run', unpack(ids))
for i = 2, #ARGV do
  local id, change = ids[i - 1], ARGV[i]:byte(17)
  local record = redis.call('GETRANGE', prefix .. 't:' .. id, 0, 267)
  local packed = runs[i - 1]
  local run, head = packed and read_run(packed), #record > 13 and header(record)
  if not head then
    statuses[#statuses + 1] = '0'
  elseif head.state ~= 'W' then
    statuses[#statuses + 1] = '3'
  elseif run and run.held then
    statuses[#statuses + 1] = '2'
  elseif head.generation == '\255' then
    statuses[#statuses + 1] = '4' -- the next would be that of an entry left behind
  else
    statuses[#statuses + 1] = '1'
    if not met[id] then
      met[id] = true
      local lane = head.lane
      head.lane = lane_of(head, run)
      local entry, key = due_entry(id, head), prefix .. 'due:' .. head.queue
      local is_scheduled = redis.call('ZSCORE', key, entry)
      local move = { id = id, head = head, lane = lane, from = is_scheduled and 's' or 'q', key = key, entry = entry }
      head.generation = string.char(head.generation:byte() + 1)
      if change % 2 == 1 then head.due = math.max(read48(ARGV[i], 18), now) end
      if change >= 2 then head.priority = ARGV[i]:sub(24, 24) end
      moves[#moves + 1] = move
    end
  end
end
for _, move in ipairs(moves) do
  local head = move.head
  redis.call('SETRANGE', prefix .. 't:' .. move.id, 2, head.generation .. head.priority .. move.lane .. pack48(head.due))
  if move.from == 's' then redis.call('ZREM', move.key, move.entry) end
  tally(move.from .. ':' .. head.queue, -1)
  enqueue(move.id, head, head.due, false)
end
write_collected()
return table.concat(statuses)
