-- Say of reserved idempotency keys which tasks they answer from now on; or let go of them.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  how long a key is remembered, ms
-- ARGV[3+] hash of the key (16) .. id it was reserved with (16) .. id of the task (16), or nothing to let go of it
-- Touches  idem:
-- Returns  how many there were

local done = 0
for i = 3, #ARGV do
  local key, reserved, id = prefix .. 'idem:' .. ARGV[i]:sub(1, 16), ARGV[i]:sub(17, 32), ARGV[i]:sub(33)
  local known = redis.call('GET', key)
  if known and #known == 30 and known:sub(1, 16) == reserved then
    done = done + 1
    if id == '' then
      redis.call('UNLINK', key)
    else
      redis.call('SET', key, id .. known:sub(17, 24), 'PX', ARGV[2])
    end
  end
end
return done
