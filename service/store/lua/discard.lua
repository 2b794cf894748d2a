-- Remove ended tasks, many at once. Their places in the order of creation, and entries that cancelled ones left in lists,
-- go with the upkeep, as those of tasks that expire.
--
-- Moves    succeeded | failed | cancelled | expired -> gone
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] id (16), or id .. hash of its idempotency key (16)
-- Touches  t: o: a: p: c: l: idem: done dead exp and, through what stands before it, uniq:
-- Returns  a status a task: 1 removed | 2 it has not ended | 0 no such task

local statuses, ids, keys = {}, {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]:sub(1, 16)
  local record = redis.call('GETRANGE', prefix .. 't:' .. id, 0, 267)
  local state = record:sub(2, 2)
  if state == '' then
    statuses[#statuses + 1] = '0'
  elseif state == 'W' then
    statuses[#statuses + 1] = '2'
  else
    statuses[#statuses + 1] = '1'
    ids[#ids + 1] = id
    keys[#keys + 1] = prefix .. 't:' .. id
    keys[#keys + 1] = prefix .. 'o:' .. id
    keys[#keys + 1] = prefix .. 'a:' .. id
    keys[#keys + 1] = prefix .. 'p:' .. id
    keys[#keys + 1] = prefix .. 'c:' .. id
    keys[#keys + 1] = prefix .. 'l:' .. id
    keys[#keys + 1] = unique_key(id, header(record).ties)
    if #ARGV[i] > 16 then keys[#keys + 1] = prefix .. 'idem:' .. ARGV[i]:sub(17) end
  end
end
if #ids > 0 then
  redis.call('UNLINK', unpack(keys))
  redis.call('ZREM', prefix .. 'done', unpack(ids))
  redis.call('ZREM', prefix .. 'dead', unpack(ids))
  redis.call('ZREM', prefix .. 'exp', unpack(ids))
end
return table.concat(statuses)
