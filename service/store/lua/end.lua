-- End tasks from outside an attempt: cancel what waits, ask running ones to stop, end what lost its worker for good.
--
-- Moves    scheduled | queued -> cancelled | expired; running -> cancelling; running | cancelling -> failed | cancelled
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2+] reports, see endings.lua. A token of zeros asks for cancellation, or for the end of a task that waited past
--          its time; another ends the task if that lease has expired
-- Touches  t: run lease due: wake: tied limits and, through what stands before it, o: a: p: c: l: ext done dead exp q: count expiring uniq: made made: stat: ev
-- Returns  a status a task: 1 ended | 2 asked to stop | 3 had ended before | 0 no such task, or the lease is alive or another's

local at, reports = 2, {}
while at <= #ARGV do reports[#reports + 1], at = read_report(at) end

-- A report of a task that waited too long holds only while it waits, and is past its time.
local function is_expired(report) return report.head5:sub(2, 2) == 'X' end
local function is_over(head, run)
  local expires = ties_of(head.ties).E
  return expires and read48(expires, 1) <= now and not (run and run.held)
end

local statuses, endings, stops, unscheduled, met = {}, {}, {}, {}, {}
for i, report in ipairs(reports) do
  local record = redis.call('GETRANGE', prefix .. 't:' .. report.id, 0, 267)
  local packed = redis.call('HGET', prefix .. 'run', report.id)
  local run, head = packed and read_run(packed), #record > 13 and header(record)
  statuses[i] = '0'
  if head and (head.state ~= 'W' or met[report.id]) then
    statuses[i] = '3'
  elseif head and report.token ~= NO_TOKEN then
    local deadline = redis.call('ZSCORE', prefix .. 'lease', report.id)
    if run and run.held and run.token == report.token and (not deadline or tonumber(deadline) <= now) then
      statuses[i] = '1'
      report.from = 'r'
      if head.ties ~= '' then with_lines().release(head.ties, report.id) end
    end
  elseif head and is_expired(report) and not is_over(head, run) then
    statuses[i] = '0'
  elseif head and run and run.held then
    statuses[i] = '2'
    if not run.cancelling then stops[#stops + 1] = { id = report.id, run = run, report = report } end
  elseif head then
    head.lane = lane_of(head, run)
    local entry = due_entry(report.id, head)
    local key = prefix .. 'due:' .. head.queue
    statuses[i] = '1'
    report.from = 'q'
    if redis.call('ZSCORE', key, entry) then
      report.from = 's'
      unscheduled[#unscheduled + 1] = { key, entry }
    end
  end
  if report.from then
    met[report.id] = true
    report.queue, report.ties = head.queue, head.ties
    report.run, report.ran, report.progressed = run, run and true, true
    report.checkpointed = run and run.checkpointed
    endings[#endings + 1] = report
  end
end
local notices, notice_records = {}, {}
for _, stop in ipairs(stops) do
  local run = stop.run
  redis.call('HSET', prefix .. 'run', stop.id, pack_run(
    run.token, run.attempt, run.crashes, run.undelivered, run.flags + CANCELLING, run.started, run.worker))
  -- A worker that is gone never takes its marker away.
  redis.call('ZADD', prefix .. 'wake:@' .. run.worker, 0, '')
  redis.call('PEXPIRE', prefix .. 'wake:@' .. run.worker, 60000)
  if stop.report.notice then
    notices[#notices + 1], notice_records[#notice_records + 1] = stop.report.notice, stop.report.notice_record
  end
  emit('k', stop.id)
end
if #notices > 0 then create(notices, notice_records) end
finish(endings)
for _, pair in ipairs(unscheduled) do redis.call('ZREM', pair[1], pair[2]) end
wake_freed()
write_collected()
return table.concat(statuses)
