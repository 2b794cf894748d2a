-- Remove an ended task and every trace of it but the events that told of it.
--
-- Moves    succeeded | failed | cancelled | expired -> gone
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  id
-- ARGV[3]  hash of its idempotency key, or empty
-- Touches  t: o: a: p: c: l: q: idem: done dead exp made made: and, through what stands before it, uniq:
-- Returns  1 removed | 0 no such task | -1 it has not ended

local id, key = ARGV[2], prefix .. 't:' .. ARGV[2]
local state = redis.call('GETRANGE', key, 1, 1)
if state == '' then return 0 end
if state == 'W' then return -1 end

-- Its run of ids lies in the bucket that was open when it was taken in: at the time in its id by its submitter's clock,
-- or seconds later when the submission had to be sent again. The nearest buckets come first.
local high, low = struct.unpack('>I2I4', id)
local created, tail = high * 4294967296 + low, id:byte(15) * 256 + id:byte(16)
local function leave(bucket)
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
      return true
    end
  end
end
local found = false
for _, range in ipairs({ { 'ZREVRANGEBYSCORE', created, '-inf', 1 }, { 'ZRANGEBYSCORE', created, created + 10000, 256 },
  { 'ZREVRANGEBYSCORE', created, created - 10000, 256 } }) do
  if not found then
    for _, bucket in ipairs(redis.call(range[1], prefix .. 'made', range[2], range[3], 'LIMIT', 0, range[4])) do
      found = found or leave(bucket)
    end
  end
end
local head = header(redis.call('GETRANGE', key, 0, 267))
-- One that was cancelled while it was ready may still have its entry in a list.
if state == 'C' or state == 'X' then
  local flow, group = line_of(head.ties)
  for _, lane in ipairs({ head.lane, ALONE[head.lane] }) do
    local home = head.queue .. ':' .. lane .. ':' .. head.priority
    local list = (flow .. group == '') and prefix .. 'q:' .. home or with_lines().line_key(home, group, flow)
    redis.call('LREM', list, 0, 'T' .. head.generation .. id)
  end
end
redis.call('UNLINK', key, prefix .. 'o:' .. id, prefix .. 'a:' .. id, prefix .. 'p:' .. id, prefix .. 'c:' .. id,
  prefix .. 'l:' .. id)
local unique = unique_key(id, head.ties)
if unique then redis.call('UNLINK', unique) end
if ARGV[3] ~= '' then redis.call('UNLINK', prefix .. 'idem:' .. ARGV[3]) end
redis.call('ZREM', prefix .. 'done', id)
redis.call('ZREM', prefix .. 'dead', id)
redis.call('ZREM', prefix .. 'exp', id)
return 1
