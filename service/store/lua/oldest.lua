-- Say since when the task of each queue that has been ready for longest is so.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] queues
-- Touches  t: run q:
-- Returns  {now ms, since when, ms, or -1 when none is ready, for each}

-- Entries whose task has moved on may lie at a head: the first few are looked at.
local function since_of(key)
  for _, entry in ipairs(redis.call('LRANGE', key, 0, 7)) do
    local id = entry:sub(3)
    local record, run = redis.call('GETRANGE', prefix .. 't:' .. id, 0, 10), redis.call('HGET', prefix .. 'run', id)
    if record:sub(2, 3) == 'W' .. entry:sub(2, 2) and not (run and read_run(run).held) then
      return math.max(read48(record, 6), read48(id, 1))
    end
  end
  return math.huge
end

local reply = {now}
for i = 2, #ARGV do
  local oldest = math.huge
  for lane in ('uatplAT'):gmatch('.') do
    for priority = 0, 9 do
      oldest = math.min(oldest, since_of(prefix .. 'q:' .. ARGV[i] .. ':' .. lane .. ':' .. priority))
    end
  end
  for _, key in ipairs(with_lines().lines_of(ARGV[i])) do oldest = math.min(oldest, since_of(key)) end
  reply[i] = oldest < math.huge and oldest or -1
end
return reply
