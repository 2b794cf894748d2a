-- Reserve idempotency keys for tasks that are to be made in other shards.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how long a key is remembered, ms
-- ARGV[3]  how long who reserved it has to make the task, ms; after that another may
-- ARGV[4+] hash of the key (16) .. id that the task is to have (16) .. fingerprint of the submission (8)
-- Touches  idem:
-- Returns  {now ms, a status a key, id of the task of each}
--          N to be made by that id, which was reserved before if it is another | K it was made | M the submissions differ
--          | F in flight. A key that is reserved and not confirmed has behind its fingerprint since when, ms (6)

local statuses, ids, set = {}, {}, {}
for i = 4, #ARGV do
  local key, id, print = prefix .. 'idem:' .. ARGV[i]:sub(1, 16), ARGV[i]:sub(17, 32), ARGV[i]:sub(33)
  local known = set[key] or redis.call('GET', key)
  local since, status = known and #known == 30 and read48(known, 25), 'N'
  if known and known:sub(17, 24) ~= print then
    status = 'M'
  elseif known and not since then
    status = 'K'
  elseif known and known:sub(1, 16) ~= id and now - since < tonumber(ARGV[3]) then
    status = 'F'
  end
  if known then id = known:sub(1, 16) end
  if status == 'N' then set[key] = id .. print .. now48 end
  statuses[#statuses + 1], ids[#ids + 1] = status, id
end
for key, text in pairs(set) do redis.call('SET', key, text, 'PX', ARGV[2]) end
return {now, table.concat(statuses), table.concat(ids)}
