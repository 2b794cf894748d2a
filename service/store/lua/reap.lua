-- Give back the tasks of workers that fell silent.
--
-- Moves    running -> queued; what must end instead is named to the caller, who ends it by end.lua
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  lease length, ms
-- ARGV[3]  0: all expired leases; else those that follow, which are known lost: how many tasks one process held when it ended,
--          negative when its worker ended it, which clears them
-- ARGV[4]  why they were lost, as the rest of a row: ,"error":{…}; empty when it is not known
-- ARGV[5+] id (16) .. token (12) of each
-- Touches  conf t: run lease ext a: limits tied and, through what stands before it, l: q: due: count stat: wake: ev
-- Returns  {how many were given back, id .. token of each task that must end: its crashes are used up, or it was to be cancelled,
--           or an endpoint holds it and has not been heard from in its time}
-- Who crashed is decided fairly: a task that was lost alone did; of several lost together with a worker any may have, so none
-- is blamed, up to nine times; they become suspects, which run alone from then on. A worker that vanished whole (its machine
-- was switched off) makes suspects only of those that were lost before. One with max_crashes 0 ends either way, since it must not run twice.
-- When nobody reaped for 5 s, or for a lease length if that is shorter (Redis was away, its clock jumped), nothing is reaped
-- for one lease length.

local lease_ms, together, lost = tonumber(ARGV[2]), math.abs(tonumber(ARGV[3])), {}
local is_cleared = tonumber(ARGV[3]) < 0
if together > 0 then
  for i = 5, #ARGV do lost[i - 4] = ARGV[i]:sub(1, 16) end
else
  local noted = redis.call('HMGET', KEYS[1], 'reaped', 'hold')
  local reaped, hold = tonumber(noted[1] or 0), tonumber(noted[2] or 0)
  if reaped <= now and now - reaped < 400 then return {0} end
  if now - reaped > math.min(5000, lease_ms) or reaped > now + 1000 then hold = now + lease_ms end
  hold = math.min(hold, now + lease_ms)
  redis.call('HSET', KEYS[1], 'reaped', now, 'hold', hold)
  local ahead = redis.call('ZRANGEBYSCORE', prefix .. 'lease', '(' .. now + LONGEST_LEASE, '+inf', 'LIMIT', 0, 128)
  for _, id in ipairs(ahead) do redis.call('ZADD', prefix .. 'lease', now + lease_ms, id) end
  if now < hold then return {0} end
  lost = redis.call('ZRANGEBYSCORE', prefix .. 'lease', '-inf', now, 'LIMIT', 0, 128)
end
if #lost == 0 then return {0} end

local runs, given_back, ending, doomed, stray, lost_with = redis.call('HMGET', prefix .. 'run', unpack(lost)), {}, {}, {}, {}, {}
local later = {} -- endpoints that have more time than a lease may have
for i in ipairs(lost) do
  runs[i] = runs[i] and (together == 0 or runs[i]:sub(1, 12) == ARGV[i + 4]:sub(17)) and read_run(runs[i])
  if runs[i] and not runs[i].external then lost_with[runs[i].worker] = (lost_with[runs[i].worker] or 0) + 1 end
end
for i, id in ipairs(lost) do
  local run, record = runs[i], redis.call('GETRANGE', prefix .. 't:' .. id, 0, 400)
  if run and run.held and run.external and #record > 13 then
    local noted = together == 0 and redis.call('HGET', prefix .. 'ext', id)
    local deadline = noted and read48(noted, 7) or 0
    if deadline > now then
      later[#later + 1], later[#later + 2] = math.min(deadline, now + LONGEST_LEASE), id
    elseif together == 0 then
      ending[#ending + 1] = id .. run.token
    end
  elseif run and run.held and #record > 13 then
    -- A lease that nobody ever confirmed most likely never arrived; but a task that kills its worker
    -- before the first heartbeat must not loop for ever.
    local head, ran = header(record), run.confirmed or together > 0
    local is_alone = (together == 1 and not is_cleared) or together == 0 and lost_with[run.worker] == 1
    local crashed = ran and is_alone or run.undelivered >= 9
    if run.cancelling or head.max_crashes == 0 or (crashed and run.crashes >= head.max_crashes) then
      ending[#ending + 1] = id .. run.token
      if together > 0 then doomed[#doomed + 1] = { id = id, run = run } end
    else
      local before = run.undelivered > 0 or run.crashes > 0
      run.suspect = run.suspect or (ran and not is_cleared and (together > 0 or before) and ALONE[head.lane] ~= nil)
      head.lane = lane_of(head, run)
      given_back[#given_back + 1] = { id = id, run = run, head = head, record = record, crashed = crashed and 1 or 0, ran = ran }
    end
  elseif together == 0 then
    stray[#stray + 1] = id -- no script leaves one; were there one, it must not be met at every reap
  end
end
if #later > 0 then redis.call('ZADD', prefix .. 'lease', unpack(later)) end
if #stray > 0 then redis.call('ZREM', prefix .. 'lease', unpack(stray)) end
for _, task in ipairs(given_back) do
  local run, id = task.run, task.id
  local row = row_of(run, task.ran and 'crashed' or 'undelivered'):sub(1, -2) .. ARGV[4] .. '}'
  redis.call('RPUSH', prefix .. 'a:' .. id, with_log(id, row, run))
  redis.call('LTRIM', prefix .. 'a:' .. id, -100, -1)
  redis.call('HSET', prefix .. 'run', id, pack_run(
    NO_TOKEN, run.attempt - 1, run.crashes + task.crashed, run.undelivered + 1 - task.crashed,
    RAN + lasting(run), run.started, run.worker))
  redis.call('ZREM', prefix .. 'lease', id)
  if task.head.ties ~= '' then with_lines().release(task.head.ties, id) end
  tally('r:' .. task.head.queue, -1)
  if task.ran then count_stat(stat_of('K', task.head.queue, task.record, 14 + task.record:byte(13), '\1worker_lost'), 1) end
  enqueue(id, task.head, now, true)
end
for _, task in ipairs(doomed) do -- their leases end now, so that whoever is first can end them
  local run = task.run
  local flags = run.confirmed and run.flags or run.flags + CONFIRMED
  redis.call('HSET', prefix .. 'run', task.id, pack_run(
    run.token, run.attempt, run.crashes, run.undelivered, flags, run.started, run.worker))
  redis.call('ZADD', prefix .. 'lease', now, task.id)
end
wake_freed()
write_collected()
return {#given_back, unpack(ending)}
