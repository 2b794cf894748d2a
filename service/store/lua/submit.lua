-- Take in new tasks. One that exists already is left as it is: a submission may be sent again.
--
-- Moves    submitted -> scheduled | queued
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id, or id .. hash of the idempotency key (16) .. fingerprint of the submission (8); record; repeated
-- ARGV[n]  how long an idempotency key is remembered, ms (last argument)
-- Touches  t: idem: and, through shared.lua, q: due: count expiring made made: stat: wake: ev
-- Returns  {now ms, a status a task, id of the earlier task for each status 1 and 2}
--          0 taken in | 1 the key's earlier task stands | 2 as 1, and the submissions differ

local last = #ARGV
local keys = {}
for i = 2, last - 1, 2 do keys[#keys + 1] = prefix .. 't:' .. ARGV[i]:sub(1, 16) end
local none_exists = redis.call('EXISTS', unpack(keys)) == 0

local statuses, earlier, ids, records, remembered, seen = {}, {}, {}, {}, {}, {}
for i = 2, last - 1, 2 do
  local id, status = ARGV[i]:sub(1, 16), '0'
  if #ARGV[i] > 16 then
    local key, known = prefix .. 'idem:' .. ARGV[i]:sub(17, 32), nil
    known = seen[key] or redis.call('GET', key)
    seen[key] = known or (id .. ARGV[i]:sub(33))
    if known and known:sub(1, 16) ~= id then
      status = known:sub(17) == ARGV[i]:sub(33) and '1' or '2'
      earlier[#earlier + 1] = known:sub(1, 16)
    elseif not known then
      remembered[#remembered + 1] = {key, seen[key]}
    end
  end
  statuses[#statuses + 1] = status
  if status == '0' and (none_exists or redis.call('EXISTS', prefix .. 't:' .. id) == 0) then
    ids[#ids + 1], records[#records + 1] = id, ARGV[i + 1]
  end
end

for _, pair in ipairs(remembered) do redis.call('SET', pair[1], pair[2], 'PX', ARGV[last]) end
if #ids > 0 then
  create(ids, records)
  write_collected()
end
return {now, table.concat(statuses), table.concat(earlier)}
