-- Save or drop a schedule, if it is of the version that somebody read. What firing has moved meanwhile stays.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  member: namespace/name
-- ARGV[3]  version that was read; 0: there is none of that name; empty: whatever there is
-- ARGV[4]  record as schedule.py packs it; empty: drop it
-- ARGV[5]  when it is due, ms; 0: never; empty: as it stands, and its next occurrence too
-- Touches  s: sh: sb: sched schedules wake:
-- Returns  {0 it is of another version | 1 saved | 2 dropped, the record as it stands then}

local NONE = string.rep('\0', 6)
local member, key = ARGV[2], prefix .. 's:' .. ARGV[2]
local found = redis.call('GET', key)
local version = found and struct.unpack('>I4', found, 3) or 0
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= version then return { 0, found or '' } end
if ARGV[4] == '' then
  redis.call('UNLINK', key, prefix .. 'sh:' .. member)
  for _, fill in ipairs(redis.call('HKEYS', prefix .. 'sb:' .. member)) do
    redis.call('ZREM', prefix .. 'sched', member .. '#' .. fill)
  end
  redis.call('UNLINK', prefix .. 'sb:' .. member)
  redis.call('ZREM', prefix .. 'sched', member)
  redis.call('ZREM', prefix .. 'schedules', member)
  return { 2, found or '' }
end

local due, record = tonumber(ARGV[5]), ARGV[4]
if found then
  local next_ms = due and record:sub(7, 12) or found:sub(7, 12)
  -- Its last occurrence may have fired since it was read.
  local state = not due and found:sub(2, 2) == 'E' and 'E' or record:sub(2, 2)
  local pending = found:sub(23, 28)
  if state == 'E' then next_ms, pending = NONE, NONE end
  record = record:sub(1, 1) .. state .. struct.pack('>I4', version + 1) .. next_ms .. found:sub(13, 22) .. pending
    .. found:sub(29, 44) .. record:sub(45)
  due = due or tonumber(redis.call('ZSCORE', prefix .. 'sched', member) or read48(next_ms, 1))
end
local state, waits = record:sub(2, 2), read48(record, 23) > 0
if waits then due = math.min(due > 0 and due or math.huge, now + 1000) end
redis.call('SET', key, record)
redis.call('ZADD', prefix .. 'schedules', 0, member)
if state == 'A' and due > 0 then
  local first = tonumber(redis.call('ZRANGE', prefix .. 'sched', 0, 0, 'WITHSCORES')[2] or math.huge)
  redis.call('ZADD', prefix .. 'sched', due, member)
  if due < first then redis.call('ZADD', prefix .. 'wake:@schedules', 0, '') end
else
  redis.call('ZREM', prefix .. 'sched', member)
end
return { 1, record }
