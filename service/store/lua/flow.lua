-- Set the limits of flow keys, and let start what may start now.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] hash (16) .. kind, the key as namespace/key, changes; repeated
--   kind     s a submission asks: not of a key that is pinned | n a replay does: only of one that is not known | c an operator does | r as c, and forget what the rate has
--            used up, and holders that run no more
--   changes  field=value, separated by spaces, of concurrency, rate, period (ms), burst, paused, pinned; empty: none
-- Touches  flow: flows hold: lease
-- Returns  a status a key: 1 changed | 0 as it was

local statuses = {}
for i = 2, #ARGV, 3 do
  local hash, kind, is_changed = ARGV[i]:sub(1, 16), ARGV[i]:sub(17), false
  local key = prefix .. 'flow:' .. hash
  local found = redis.call('HMGET', key, 'seen', 'pinned')
  if math.abs(now - (tonumber(found[1]) or 0)) > 60000 then
    redis.call('HSET', key, 'seen', now, 'key', ARGV[i + 1])
    redis.call('ZADD', prefix .. 'flows', 0, ARGV[i + 1] .. '\0' .. hash)
  end
  if (kind ~= 's' or found[2] ~= '1') and (kind ~= 'n' or not found[1]) then
    for field, value in ARGV[i + 2]:gmatch('(%a+)=(%S*)') do
      if (redis.call('HGET', key, field) or '') ~= value then
        is_changed = true
        if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
      end
    end
  end
  if kind == 'r' then
    is_changed = redis.call('HDEL', key, 'tat') == 1 or is_changed
    for _, id in ipairs(redis.call('SMEMBERS', prefix .. 'hold:' .. hash)) do
      if not redis.call('ZSCORE', prefix .. 'lease', id) then
        redis.call('SREM', prefix .. 'hold:' .. hash, id)
        is_changed = true
      end
    end
  end
  if is_changed then
    local lines = with_lines()
    lines.flows[hash] = nil
    lines.open_flow(hash)
  end
  statuses[#statuses + 1] = is_changed and '1' or '0'
end
write_collected()
return table.concat(statuses)
