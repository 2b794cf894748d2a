-- Create the tasks of a slice of work on many, once: a slice that has been made is left as it is, whoever asks again.
--
-- Moves    submitted -> queued; scheduled -> queued; queued -> scheduled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  id of the work .. "." .. which part of the slice
-- ARGV[3]  number of the slice (4), above that of the one before
-- ARGV[4]  time in the ids, ms (6)
-- ARGV[5]  how long it is remembered, ms
-- ARGV[6+] id (16), record; repeated
-- Touches  bulk: and, through what stands before it, uniq: run t: q: due: count expiring made made: stat: wake: ev
-- Returns  {now ms, time in the ids of this slice's tasks (6), how many were made}; of the first call, if it was not this one

local key = prefix .. 'bulk:' .. ARGV[2]
local found = redis.call('GET', key)
if found and found:sub(1, 4) >= ARGV[3] then
  return { now, found:sub(5, 10), struct.unpack('>I4', found, 11) }
end
local ids, records = {}, {}
for i = 6, #ARGV, 2 do
  if claim(ARGV[i], ARGV[i + 1]) == '0' then ids[#ids + 1], records[#records + 1] = ARGV[i], ARGV[i + 1] end
end
redis.call('SET', key, ARGV[3] .. ARGV[4] .. struct.pack('>I4', #ids), 'PX', ARGV[5])
if #ids > 0 then create(ids, records) end
write_claims()
write_collected()
return { now, ARGV[4], #ids }
