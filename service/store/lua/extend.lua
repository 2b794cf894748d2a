-- A heartbeat: the tasks a worker really holds keep their leases.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  lease length, ms
-- ARGV[3+] id (16) .. token (12) of each task
-- Touches  run lease
-- Returns  a status a task: 1 extended | 0 lease lost | 2 extended, and cancellation was asked for

local ids, statuses, leases, confirmed = {}, {}, {}, {}
for i = 3, #ARGV do ids[i - 2] = ARGV[i]:sub(1, 16) end
local runs = redis.call('HMGET', prefix .. 'run', unpack(ids))
for i, id in ipairs(ids) do
  local run = runs[i] and runs[i]:sub(1, 12) == ARGV[i + 2]:sub(17) and read_run(runs[i])
  if run and run.held and run.external then -- its worker has handed it over, and hears of that only now
    statuses[i] = '1'
  elseif run and run.held then
    statuses[i] = run.cancelling and '2' or '1'
    leases[#leases + 1], leases[#leases + 2] = now + ARGV[2], id
    if not run.confirmed then
      confirmed[#confirmed + 1] = id
      confirmed[#confirmed + 1] = pack_run(
        run.token, run.attempt, run.crashes, run.undelivered, run.flags + CONFIRMED, run.started, run.worker)
    end
  else
    statuses[i] = '0'
  end
end
if #leases > 0 then redis.call('ZADD', prefix .. 'lease', unpack(leases)) end
if #confirmed > 0 then redis.call('HSET', prefix .. 'run', unpack(confirmed)) end
return table.concat(statuses)
