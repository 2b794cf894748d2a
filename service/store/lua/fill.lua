-- Carry out a slice of a backfill: create the tasks of its next occurrences, and note how far it has come. One that has
-- moved since it was read is left as it is, so that any number of schedulers fires each occurrence once.
--
-- Moves    submitted -> queued; scheduled -> queued; queued -> scheduled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  member of the schedule: namespace/name
-- ARGV[3]  id of the backfill
-- ARGV[4]  last occurrence as read (6) .. last one then (6) .. when to go on (6) .. a: at once | q: when its last task has ended
--          .. 1: these are the last | 0
-- ARGV[5+] occurrence (6) .. id of its task (16), record of its task; repeated
-- Touches  sb: sh: sched t: and, through what stands before it, uniq: run q: due: count expiring made made: stat: wake: ev
-- Returns  {now ms, 0 it has moved, or is no more | 1 fired | 2 its last task has not ended}

local member, fill, head = ARGV[2], ARGV[3], ARGV[4]
local key, place = prefix .. 'sb:' .. member, member .. '#' .. fill
local found = redis.call('HGET', key, fill)
if not found or found:sub(2, 2) ~= 'R' or found:sub(3, 8) ~= head:sub(1, 6) then return { now, 0 } end
local last = found:sub(13, 28)
if head:sub(19, 19) == 'q' and redis.call('GETRANGE', prefix .. 't:' .. last, 1, 1) == 'W' then
  redis.call('ZADD', prefix .. 'sched', now + 1000, place)
  return { now, 2 }
end

local ids, records, done = {}, {}, struct.unpack('>I4', found, 9)
for i = 5, #ARGV, 2 do
  local id = ARGV[i]:sub(7)
  local is_there, answer, other = redis.call('EXISTS', prefix .. 't:' .. id) == 1, '0', nil
  if not is_there then answer, other = claim(id, ARGV[i + 1]) end
  if not is_there and answer == '0' then ids[#ids + 1], records[#records + 1] = id, ARGV[i + 1] end
  if answer == '0' then last = id end
  done = done + 1
  note_run(member, answer == '0' and 'B' or 'S', read48(ARGV[i], 1), answer == '0' and id or other.id)
end
if #ids > 0 then create(ids, records) end
write_claims()
local state, ended = 'R', found:sub(29, 34)
if head:sub(20, 20) == '1' then
  state, ended = 'D', now48
  redis.call('HDEL', key, '#' .. fill)
  redis.call('ZREM', prefix .. 'sched', place)
else
  redis.call('ZADD', prefix .. 'sched', math.max(read48(head, 13), now), place)
end
redis.call('HSET', key, fill,
  found:sub(1, 1) .. state .. head:sub(7, 12) .. struct.pack('>I4', done) .. last .. ended .. found:sub(35))
write_collected()
return { now, 1 }
