-- Let go of flow keys that nobody has used for long, and of what ended tasks left behind in parked lines.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  the key, a member of `flows`, behind which to go on; empty: from the first
-- ARGV[3]  how long an unused key is remembered, ms
-- Touches  flow: flows hold: lease parks: park:
-- Returns  the last key that was looked at; empty when it was the last of all

local members = redis.call('ZRANGEBYLEX', prefix .. 'flows', ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'LIMIT', 0, 64)
for _, member in ipairs(members) do
  local hash = member:sub(-16)
  local found = redis.call('HMGET', prefix .. 'flow:' .. hash, 'open', 'seen', 'paused', 'pinned')
  local open, hold = tonumber(found[1]) or 0, prefix .. 'hold:' .. hash
  -- No script leaves a holder that does not run; were there one, it must not hold its key for ever.
  for _, id in ipairs(redis.call('SRANDMEMBER', hold, 32)) do
    if not redis.call('ZSCORE', prefix .. 'lease', id) then redis.call('SREM', hold, id) end
  end
  if open <= redis.call('SCARD', hold) then -- none waits
    for _, home in ipairs(redis.call('SMEMBERS', prefix .. 'parks:' .. hash)) do
      for _, group in ipairs(redis.call('ZRANGE', prefix .. 'park:' .. hash .. ':' .. home, 0, -1)) do
        redis.call('UNLINK', with_lines().line_key(home, group, hash))
        with_lines().drop_line(home, group, hash)
      end
      redis.call('UNLINK', prefix .. 'park:' .. hash .. ':' .. home)
    end
    redis.call('DEL', prefix .. 'parks:' .. hash)
  end
  local is_kept = found[3] == '1' or found[4] == '1'
  if open <= 0 and not is_kept and now - (tonumber(found[2]) or 0) > tonumber(ARGV[3]) then
    redis.call('DEL', prefix .. 'flow:' .. hash, hold)
    redis.call('ZREM', prefix .. 'flows', member)
  end
end
return #members == 64 and members[64] or ''
