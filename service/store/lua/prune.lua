-- Take ids whose tasks are gone out of one bucket of the order of creation.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  bucket: its name
-- ARGV[3]  how many runs of ids to look at
-- Touches  t: made made:
-- Returns  {how many runs the bucket still has (0: it is gone), how many were looked at, how many ids stay in these}

local bucket = prefix .. 'made:' .. ARGV[2]
local kept, examined, seen, stay = {}, 0, 0, 0
for _, run in ipairs(redis.call('LRANGE', bucket, 0, ARGV[3] - 1)) do
  if examined > 1024 then break end
  local stem, first, many, open = run:sub(1, 14), run:byte(15) * 256 + run:byte(16), run:byte(17), nil
  for place = 0, many do
    local id = stem .. struct.pack('>I2', first + place)
    if redis.call('EXISTS', prefix .. 't:' .. id) == 1 then
      if open then
        kept[#kept] = kept[#kept]:sub(1, 16) .. string.char(kept[#kept]:byte(17) + 1)
      else
        kept[#kept + 1] = id .. '\0'
      end
      open, stay = true, stay + 1
    else
      open = false
    end
  end
  examined, seen = examined + many + 1, seen + 1
end
if seen > 0 then
  if #kept > 0 then redis.call('RPUSH', bucket, unpack(kept)) end
  redis.call('LTRIM', bucket, seen, -1)
end
local length = redis.call('LLEN', bucket)
if length == 0 then redis.call('ZREM', prefix .. 'made', ARGV[2]) end
return {length, seen, stay}
