-- Lines of tasks that are tied to others: by a flow key, which limits them together, or by a group, which takes turns.
--
-- Not a script of its own: scripts.py puts it behind writes.lua. A home is a queue, a lane and a priority. Its tasks without
-- ties wait in q:<home>, as if there were no others; each group and flow key there has a line, a list of its own.
-- Groups share a home by virtual time (`turn:`, SCFQ): the least is next, and one task adds 1/weight to it; '' stands for all
-- tasks without a group. Within a group the line whose first task is the oldest is next (`lines:`), so that a flow key holds
-- tasks back and changes no order. When a line is met whose key may start nothing, it is parked: it goes out of the way
-- (`park:`), and whoever makes room opens one line a home again, and so does each task that leaves room for more. A rate says
-- itself when it has room: then there is a ticket in `due:`.
-- Touches  line: lined: lines: turn: tied park: parks: flow: hold: weights groups:
-- Lists and leases say what is; the sets here only say where to look, so that they may be written before all is checked.

local trims = {} -- list -> how many entries of its head this call has taken, which leave it last
local next_ticket = math.huge
local made_lines

-- The functions below, made when a call first meets a tied task: each function that a script makes costs every call of it.
local function with_lines()
  if made_lines then return made_lines end
  local flows, started, released, weights = {}, {}, {}, {}

  local function line_key(home, group, flow)
    return prefix .. 'line:' .. home .. ':' .. group .. ':' .. flow
  end

  -- The name of a line among those of its queue: lane, priority, its flow key or '-', group.
  local function name_of(home, group, flow)
    return home:sub(-3, -3) .. home:sub(-1) .. (flow == '' and '-' or 'F' .. flow) .. group
  end

  -- What `name_of` named: home, group, flow key.
  local function named(queue, name)
    local home, flow = queue .. ':' .. name:sub(1, 1) .. ':' .. name:sub(2, 2), ''
    if name:sub(3, 3) == 'F' then flow = name:sub(4, 19) end
    return home, name:sub(flow == '' and 4 or 20), flow
  end

  -- The lines of a queue, up to 128.
  local function lines_of(queue)
    local keys = {}
    for _, name in ipairs(redis.call('ZRANGE', prefix .. 'lined:' .. queue, 0, 127)) do
      keys[#keys + 1] = line_key(named(queue, name))
    end
    return keys
  end

  local function queue_of(home)
    return home:sub(1, -5)
  end

  -- What is known of a flow key: its limits, and how many of its tasks run.
  local function flow_of(hash)
    local flow = flows[hash]
    if flow then return flow end
    local found = redis.call('HMGET', prefix .. 'flow:' .. hash, 'concurrency', 'rate', 'period', 'burst', 'paused', 'tat')
    local rate = tonumber(found[2])
    flow = {
      concurrency = tonumber(found[1]) or math.huge, interval = rate and (tonumber(found[3]) or 1000) / rate,
      burst = tonumber(found[4]) or 1, paused = found[5] == '1', tat = tonumber(found[6]) or 0,
      held = redis.call('SCARD', prefix .. 'hold:' .. hash),
    }
    -- Further ahead only when the clock was set back.
    if flow.interval then flow.tat = math.min(flow.tat, now + flow.burst * flow.interval) end
    flows[hash] = flow
    return flow
  end

  -- Whether a task of the key may start; if only its rate forbids it, when one may.
  local function may_start(hash)
    local flow = flow_of(hash)
    if flow.paused or flow.held >= flow.concurrency then return false end
    if flow.interval then -- GCRA
      local at = math.ceil(math.max(flow.tat, now) + (1 - flow.burst) * flow.interval)
      if at > now then return false, at end
    end
    return true
  end

  local function note_start(hash, id)
    local flow = flow_of(hash)
    flow.held = flow.held + 1
    if flow.interval then
      flow.tat = math.max(flow.tat, now) + flow.interval
      flow.is_used = true
    end
    append(started, hash, id)
  end

  -- A task that ran runs no more.
  local function release(ties, id)
    local hash = line_of(ties)
    if hash == '' then return end
    local flow = flow_of(hash)
    flow.held, flow.is_freed = flow.held - 1, true
    append(released, hash, id)
  end

  -- By how much one task moves a group on.
  local function step_of(home, group)
    if group == '' then return 1 end
    local field = queue_of(home) .. ':' .. group
    weights[field] = weights[field] or 1 / (tonumber(redis.call('HGET', prefix .. 'weights', field) or 1) or 1)
    return weights[field]
  end

  -- `tied` says in which priorities of a queue and lane there is something to look for.
  local function mark(home)
    local field, priority = home:sub(1, -3), home:sub(-1)
    local marked = redis.call('HGET', prefix .. 'tied', field) or ''
    if not marked:find(priority, 1, true) then redis.call('HSET', prefix .. 'tied', field, marked .. priority) end
    woken[prefix .. 'wake:' .. field] = true
  end

  local function unmark(home)
    local field, priority = home:sub(1, -3), home:sub(-1)
    local marked = (redis.call('HGET', prefix .. 'tied', field) or ''):gsub(priority, '')
    if marked == '' then
      redis.call('HDEL', prefix .. 'tied', field)
    else
      redis.call('HSET', prefix .. 'tied', field, marked)
    end
  end

  -- The virtual time of a home: that of who is next.
  local function time_of(home)
    local first = redis.call('ZRANGE', prefix .. 'turn:' .. home, 0, 0, 'WITHSCORES')
    if not first[2] then redis.call('ZADD', prefix .. 'turn:' .. home, 0, '') end
    return tonumber(first[2] or 0)
  end

  -- Let a line be looked at; *tag*: where its group stood when it was parked.
  local function open_line(home, group, flow, entry, tag)
    redis.call('ZADD', prefix .. 'lines:' .. home .. ':' .. group, read48(entry, 3), flow)
    local time = time_of(home)
    if group ~= '' then
      -- A little less than a step, so that it goes before others that would have their second round just then.
      tag = tag and math.max(tag, time) or time + 0.999 * step_of(home, group)
      redis.call('ZADD', prefix .. 'turn:' .. home, 'NX', tag, group)
    end
    mark(home)
  end

  -- The line is looked at no more.
  local function close_line(home, group, flow)
    local lines = prefix .. 'lines:' .. home .. ':' .. group
    redis.call('ZREM', lines, flow)
    if group ~= '' and redis.call('EXISTS', lines) == 0 then redis.call('ZREM', prefix .. 'turn:' .. home, group) end
  end

  -- Nothing is left of a line.
  local function drop_line(home, group, flow)
    close_line(home, group, flow)
    redis.call('ZREM', prefix .. 'lined:' .. queue_of(home), name_of(home, group, flow))
  end

  local function put_ticket(flow, home, at)
    next_ticket = math.min(next_ticket, at)
    append(due, prefix .. 'due:' .. queue_of(home), at)
    append(due, prefix .. 'due:' .. queue_of(home), 'F\0' .. flow .. home:sub(-1) .. home:sub(-3, -3))
  end

  local function add_parked(home, group, flow, tag)
    redis.call('ZADD', prefix .. 'park:' .. flow .. ':' .. home, tag, group)
    redis.call('SADD', prefix .. 'parks:' .. flow, home)
  end

  -- Park the line of a key that may start nothing; *at*: when its rate lets it.
  local function park(home, group, flow, tag, at)
    add_parked(home, group, flow, tag)
    close_line(home, group, flow)
    if at then put_ticket(flow, home, at) end
  end

  local function leave_park(flow, home, group)
    local key = prefix .. 'park:' .. flow .. ':' .. home
    redis.call('ZREM', key, group)
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', prefix .. 'parks:' .. flow, home) end
  end

  -- If the key may start something, open the parked line of the group in *home* that is next; if it may later, note when.
  local function pass_on(flow, home)
    local may, at = may_start(flow)
    while may or at do
      local first = redis.call('ZRANGE', prefix .. 'park:' .. flow .. ':' .. home, 0, 0, 'WITHSCORES')
      local group = first[1]
      if not group then return end
      if not may then return put_ticket(flow, home, at) end
      local key = line_key(home, group, flow)
      local entry = redis.call('LINDEX', key, trims[key] or 0)
      if entry then open_line(home, group, flow, entry, tonumber(first[2])) else drop_line(home, group, flow) end
      leave_park(flow, home, group)
      if entry then return end
    end
  end

  -- The key may start more than before: let it be met again wherever it waits.
  local function open_flow(hash)
    for _, home in ipairs(redis.call('SMEMBERS', prefix .. 'parks:' .. hash)) do pass_on(hash, home) end
  end

  -- Before tasks are taken, so that they are met at once; else when all is written.
  local function open_freed()
    for hash, flow in pairs(flows) do
      if flow.is_freed then
        flow.is_freed = nil
        open_flow(hash)
      end
    end
  end

  -- Put what is due again in the line of a key to where it is met; answers the entries that are none of these.
  local function redeem(queue, entries)
    local others = {}
    for _, entry in ipairs(entries) do
      if entry:sub(1, 1) == 'F' then
        pass_on(entry:sub(3, 18), queue .. ':' .. entry:sub(20) .. ':' .. entry:sub(19, 19))
        redis.call('ZREM', prefix .. 'due:' .. queue, entry)
      else
        others[#others + 1] = entry
      end
    end
    return others
  end

  -- Who is next in a home: group, its virtual time, the flow key of its oldest line ('' for none) and since when that waits, and
  -- whether no other group is there. Nothing when no line is open. *is_bare*: no task without ties waits.
  local function turn_of(home, is_bare)
    local turns = prefix .. 'turn:' .. home
    while true do
      local found = redis.call('ZRANGE', turns, 0, 1, 'WITHSCORES')
      local group, tag = found[1], found[2]
      if not group then return unmark(home) end
      local line = redis.call('ZRANGE', prefix .. 'lines:' .. home .. ':' .. group, 0, 0, 'WITHSCORES')
      if group == '' and not line[1] and not found[3] then return unmark(home) end
      local is_idle = group == '' and not line[1] and is_bare
      if is_idle then
        group, tag = found[3], found[4]
        line = redis.call('ZRANGE', prefix .. 'lines:' .. home .. ':' .. group, 0, 0, 'WITHSCORES')
      end
      if line[1] or group == '' then
        return { group = group, tag = tonumber(tag), flow = line[1], ms = tonumber(line[2] or math.huge),
          only = not found[3], is_idle = is_idle }
      end
      redis.call('ZREM', turns, group) -- one that has lost its lines; no script leaves it there
    end
  end

  -- A group has had its turn, with so many tasks. Who has nothing to do saves up no turns: for the tasks without a group
  -- the time goes on.
  local function move_on(home, turn, many)
    if not (turn.group == '' and turn.only) then
      redis.call('ZADD', prefix .. 'turn:' .. home, 'XX', turn.tag + many * step_of(home, turn.group), turn.group)
      if turn.is_idle then redis.call('ZADD', prefix .. 'turn:' .. home, turn.tag, '') end
    end
  end

  -- What was pushed to a line makes it one that is known, or may be older than what stood there.
  local function settle(line)
    local home, group, flow = line.home, line.group, line.flow
    local key = line_key(home, group, flow)
    local is_new = redis.call('ZADD', prefix .. 'lined:' .. queue_of(home), 'NX', 0, name_of(home, group, flow)) == 1
    if not is_new and #line.front == 0 then return end
    local entry = redis.call('LINDEX', key, trims[key] or 0)
    if not is_new then
      redis.call('ZADD', prefix .. 'lines:' .. home .. ':' .. group, 'XX', read48(entry, 3), flow)
    elseif flow ~= '' and redis.call('EXISTS', prefix .. 'park:' .. flow .. ':' .. home) == 1 then
      add_parked(home, group, flow, time_of(home) + step_of(home, group))
    else
      open_line(home, group, flow, entry)
    end
  end

  local function write()
    for hash, ids in pairs(released) do redis.call('SREM', prefix .. 'hold:' .. hash, unpack(ids)) end
    for hash, ids in pairs(started) do
      redis.call('SADD', prefix .. 'hold:' .. hash, unpack(ids))
      if flows[hash].is_used then redis.call('HSET', prefix .. 'flow:' .. hash, 'tat', string.format('%.3f', flows[hash].tat)) end
    end
    for key, line in pairs(lined) do
      if #line.back > 0 then redis.call('RPUSH', key, unpack(line.back)) end
      for i = #line.front, 1, -1 do redis.call('LPUSH', key, line.front[i]) end
      settle(line)
    end
    for hash, change in pairs(flow_counts) do redis.call('HINCRBY', prefix .. 'flow:' .. hash, 'open', change) end
    for key, groups in pairs(group_counts) do
      for group, change in pairs(groups) do
        if redis.call('HINCRBY', key, group, change) <= 0 then redis.call('HDEL', key, group) end
      end
    end
    open_freed()
  end

  made_lines = {
    line_key = line_key, named = named, lines_of = lines_of, flows = flows, may_start = may_start,
    note_start = note_start, release = release, drop_line = drop_line, park = park, leave_park = leave_park,
    pass_on = pass_on, open_flow = open_flow, open_freed = open_freed, redeem = redeem, turn_of = turn_of,
    move_on = move_on, write = write,
  }
  return made_lines
end

write_lines = function()
  if made_lines or next(lined) or next(flow_counts) or next(group_counts) then with_lines().write() end
end
