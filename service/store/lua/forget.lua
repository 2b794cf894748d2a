-- Remove an ended task and every trace of it but the events that told of it.
--
-- Moves    succeeded | failed | cancelled | expired -> gone
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  id
-- ARGV[3]  hash of its idempotency key, or empty
-- Touches  t: o: a: p: idem: done dead exp made made:
-- Returns  1 removed | 0 no such task | -1 it has not ended

local id, key = ARGV[2], prefix .. 't:' .. ARGV[2]
local state = redis.call('GETRANGE', key, 1, 1)
if state == '' then return 0 end
if state == 'W' then return -1 end

-- Its run of ids lies in the bucket that was open when it was created, or in one opened shortly after.
local high, low = struct.unpack('>I2I4', id)
local created = high * 4294967296 + low
local buckets = redis.call('ZREVRANGEBYSCORE', prefix .. 'made', created, '-inf', 'LIMIT', 0, 1)
for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'made', '(' .. created, '+inf', 'LIMIT', 0, 3)) do
  buckets[#buckets + 1] = bucket
end
local tail = id:byte(15) * 256 + id:byte(16)
for _, bucket in ipairs(buckets) do
  local bucket_key = prefix .. 'made:' .. bucket
  for _, run in ipairs(redis.call('LRANGE', bucket_key, 0, -1)) do
    local place = tail - run:byte(15) * 256 - run:byte(16)
    if run:sub(1, 14) == id:sub(1, 14) and place >= 0 and place <= run:byte(17) then
      if place > 0 then redis.call('RPUSH', bucket_key, run:sub(1, 16) .. string.char(place - 1)) end
      if place < run:byte(17) then
        redis.call('RPUSH', bucket_key, id:sub(1, 14) .. struct.pack('>I2', tail + 1) .. string.char(run:byte(17) - place - 1))
      end
      redis.call('LREM', bucket_key, 1, run)
      if redis.call('EXISTS', bucket_key) == 0 then redis.call('ZREM', prefix .. 'made', bucket) end
    end
  end
end
redis.call('UNLINK', key, prefix .. 'o:' .. id, prefix .. 'a:' .. id, prefix .. 'p:' .. id)
if ARGV[3] ~= '' then redis.call('UNLINK', prefix .. 'idem:' .. ARGV[3]) end
redis.call('ZREM', prefix .. 'done', id)
redis.call('ZREM', prefix .. 'dead', id)
redis.call('ZREM', prefix .. 'exp', id)
return 1
