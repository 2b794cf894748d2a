-- Read the attempts of a task, all at one instant.
--
-- Moves    nothing
-- KEYS     conf, none
-- ARGV[1]  key prefix
-- ARGV[2]  id (16)
-- Touches  t: o: run a: l:
-- Returns  {now ms, record, run, large outcome, log so far of the attempt that runs, rows of those that ended}; record,
--          run and outcome are false where there is none

local id = ARGV[2]
local packed = redis.call('HGET', prefix .. 'run', id)
return {
  now,
  redis.call('GET', prefix .. 't:' .. id),
  packed,
  redis.call('GET', prefix .. 'o:' .. id),
  packed and read_run(packed).logged and redis.call('LRANGE', prefix .. 'l:' .. id, 0, -1) or {},
  redis.call('LRANGE', prefix .. 'a:' .. id, 0, -1),
}
