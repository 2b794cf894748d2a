-- Count what came of a process' calls, by endpoint, and open or close circuits by it.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  the process that calls
-- ARGV[3]  the number of this report, which goes up; one that was heard before counts nothing
-- ARGV[4]  how many endpoints are remembered
-- ARGV[5+] a report of an endpoint each, JSON: see traffic.py
-- Touches  calls called circuits
-- Returns  {now ms, every circuit as field, JSON, ..., and by pairs behind '': each reported endpoint whose calls fail, and
--           since when, ms}

local SILENT, WINDOW, MINUTE, KEPT = 15000, 600000, 60000, 7 * 86400000
local calls, called, circuits = prefix .. 'calls', prefix .. 'called', prefix .. 'circuits'

local function add(into, told)
  into.succeeded = (into.succeeded or 0) + told.succeeded
  into.refused = (into.refused or 0) + told.refused
  into.failed = (into.failed or 0) + told.failed
  into.times = into.times or {}
  for step, many in pairs(told.times) do into.times[step] = (into.times[step] or 0) + many end
end

-- Two windows, so that what is shown covers the last ten to twenty minutes.
local function count(known, told)
  if now - (known.window_ms or 0) >= WINDOW then
    known.before = now - (known.window_ms or 0) < 2 * WINDOW and known.lately or nil
    known.window_ms, known.lately = now, {}
  end
  add(known.lately, told)
  if now - (known.minute_ms or 0) >= MINUTE then known.minute_ms, known.well, known.badly = now, 0, 0 end
  known.well, known.badly = known.well + told.succeeded + told.refused, known.badly + told.failed
  if told.succeeded + told.refused > 0 then
    known.streak, known.failing_ms = 0, nil
    if told.succeeded > 0 then known.succeeded_ms = now end
  end
  if told.failed > 0 then
    known.failed_ms, known.error = now, told.error
    known.streak = (known.streak or 0) + told.streak
    if told.streak > 0 then known.failing_ms = known.failing_ms or now end
  end
end

local function too_bad(known, told)
  if told.breaker_failures == 0 or told.failed == 0 then return nil end
  if (known.streak or 0) >= told.breaker_failures then
    return known.streak == 1 and 'the last call failed' or known.streak .. ' calls in a row failed'
  end
  local all = known.well + known.badly
  if all >= 2 * told.breaker_failures and known.badly > told.breaker_ratio * all then
    return known.badly .. ' of ' .. all .. ' calls within a minute failed'
  end
end

-- A circuit closes by its probe alone, or by a test: what began before it opened says nothing.
local function turn(field, known, told)
  local text = redis.call('HGET', circuits, field)
  local circuit = text and cjson.decode(text)
  if not circuit then
    local reason = too_bad(known, told)
    if not reason then return end
    circuit = { opened_ms = now, until_ms = now + told.pause_ms, pauses = 1, reason = reason }
  elseif told.ends or (told.probe and told.probe == circuit.probe and told.probed == 'well') then
    redis.call('HDEL', circuits, field)
    known.streak, known.failing_ms, known.minute_ms = 0, nil, nil
    return
  elseif told.probe and told.probe == circuit.probe then
    if told.probed == 'badly' then circuit.pauses = circuit.pauses + 1 end
    circuit.until_ms = now + math.min(told.pause_ms * 2 ^ math.min(circuit.pauses - 1, 20), told.longest_pause_ms)
    circuit.probe, circuit.probe_ms = nil, nil
  else
    return
  end
  redis.call('HSET', circuits, field, cjson.encode(circuit))
end

local failing, process, number = {''}, ARGV[2], tonumber(ARGV[3])
for i = 5, #ARGV do
  local told = cjson.decode(ARGV[i])
  local field = told.endpoint
  local known = cjson.decode(redis.call('HGET', calls, field) or '{"flying":{}}')
  local mine = known.flying[process]
  if not mine or mine[3] < number then
    for other, one in pairs(known.flying) do
      if now - one[2] > SILENT then known.flying[other] = nil end
    end
    known.flying[process] = {told.flying, now, number}
    count(known, told)
    turn(field, known, told)
    redis.call('HSET', calls, field, cjson.encode(known))
    redis.call('ZADD', called, now, field)
  end
  if known.failing_ms and told.failed > 0 then
    failing[#failing + 1], failing[#failing + 2] = field, string.format('%.0f', known.failing_ms)
  end
end

local over = redis.call('ZCARD', called) - tonumber(ARGV[4])
local old = over > 0 and redis.call('ZRANGE', called, 0, math.min(over, 100) - 1)
  or redis.call('ZRANGEBYSCORE', called, '-inf', now - KEPT, 'LIMIT', 0, 100)
if #old > 0 then
  redis.call('ZREM', called, unpack(old))
  redis.call('HDEL', calls, unpack(old))
  redis.call('HDEL', circuits, unpack(old))
end
local reply = redis.call('HGETALL', circuits)
table.insert(reply, 1, now)
for _, one in ipairs(failing) do reply[#reply + 1] = one end
return reply
