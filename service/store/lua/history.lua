-- Read buckets of statistics, as many as an answer may hold.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] which: minutes .. ':' .. first minute
-- Touches  stat:
-- Returns  {now ms, how many of them were looked at, for each that there is: its number from 0 on, its fields and values}

local reply, fields = {now, 0}, 0
for i = 2, #ARGV do
  local bucket = redis.call('HGETALL', prefix .. 'stat:' .. ARGV[i])
  if #bucket > 0 then reply[#reply + 1], reply[#reply + 2] = i - 2, bucket end
  reply[2], fields = i - 1, fields + #bucket / 2
  if fields >= 4000 then break end
end
return reply
