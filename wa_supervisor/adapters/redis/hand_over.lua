-- Hands one message over to an agent: seen-check, stream, mark, owner of the chat, mark of "typing", channel; all or nothing.
--
-- KEYS  1 the agent's input stream (the channel has the same name)   2 seen   3 owner of the chat   4 chats with "typing"
--       5 marks of the session: chat -> "time id"   6 what waits for somebody to listen   7 agents for whom something does
-- ARGV  1 integration id  2 chat  3 session  4 message id  5 payload  6 "1" to mark "typing"
--       7 seen ttl, s  8 owner ttl, s  9 typing ttl, s  10 stream bound  11 the mark, or ''  12 agent id
-- Gives {entry id, how many heard it on the channel, 1 if it waits for somebody to listen, how many that nobody had read
-- or heard the bound took away}, or nil if the message had been handed over before.
--
-- A script that fails is not rolled back, so what can fail comes before what makes the message "seen": a missing
-- permission for the channel is asked for, XINFO may not be permitted, and XADD meets a stream of a wrong type or a full
-- server.

local stream, waiting = KEYS[1], KEYS[6]

local function time_of(mark)
  return tonumber(string.match(mark, '^%d+')) or 0
end

local function advance()
  if ARGV[11] == '' then
    return
  end
  local known = redis.pcall('HGET', KEYS[5], ARGV[2])
  if not known or (type(known) == 'string' and time_of(known) <= time_of(ARGV[11])) then
    redis.pcall('HSET', KEYS[5], ARGV[2], ARGV[11])
  end
end

local function is_after(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local other_ms, other_seq = string.match(other, '(%d+)-(%d+)')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms > other_ms or (ms == other_ms and tonumber(seq) > tonumber(other_seq))
end

-- The first entry that waits for somebody to listen; "(id" means the one after it.
local function first_waiting()
  local first = redis.pcall('HGET', waiting, 'first')
  return type(first) == 'string' and first or nil
end

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

-- Those of the rows that some group of the agent has not read, or read and not acknowledged.
local function unread(rows, groups)
  local last, missing = rows[#rows][1], {}
  for _, flat in ipairs(groups) do
    local group = fields_of(flat)
    for _, row in ipairs(rows) do
      if is_after(row[1], group['last-delivered-id']) then
        missing[row[1]] = true
      end
    end
    local from = rows[1][1]  -- what went before these may be pending for ever
    while from do
      local pending = redis.call('XPENDING', stream, group.name, from, last, 1000)
      for _, row in ipairs(pending) do
        missing[row[1]] = true
      end
      from = #pending == 1000 and '(' .. pending[1000][1] or nil
    end
  end
  return missing
end

local function unheard(rows)
  local first, missing = first_waiting(), {}
  if first then
    local id, is_open = string.gsub(first, '^%(', '')
    for _, row in ipairs(rows) do
      if is_after(row[1], id) or (row[1] == id and is_open == 0) then
        missing[row[1]] = true
      end
    end
  end
  return missing
end

local function trim(groups)
  local bound = tonumber(ARGV[10])
  local excess = redis.call('XLEN', stream) - bound
  if excess < (bound < 1000 and math.max(1, math.floor(bound / 10)) or 100) then
    return 0
  end
  local rows = redis.call('XRANGE', stream, '-', '+', 'COUNT', math.min(excess, 1000))
  local missing, dropped = #groups > 0 and unread(rows, groups) or unheard(rows), 0
  for _, row in ipairs(rows) do
    dropped = dropped + (missing[row[1]] and 1 or 0)
  end
  redis.call('XTRIM', stream, 'MAXLEN', '=', bound + excess - #rows)
  if dropped > 0 and #groups == 0 then
    redis.call('HINCRBY', waiting, 'count', -dropped)
    redis.call('HSET', waiting, 'first', redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1])
  end
  return dropped
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  advance()
  return nil
end
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', stream, '') then
  return redis.error_reply('NOPERM this user may not publish on the channels of agents')
end
local groups = redis.call('EXISTS', stream) == 1 and redis.call('XINFO', 'GROUPS', stream) or {}
local entry = redis.call('XADD', stream, '*',
  'payload', ARGV[5], 'integration_id', ARGV[1], 'session', ARGV[3], 'message_id', ARGV[4])
redis.call('SET', KEYS[2], entry, 'EX', ARGV[7])
advance()
redis.pcall('SET', KEYS[3], ARGV[1], 'EX', ARGV[8])
if ARGV[6] == '1' then
  redis.pcall('SADD', KEYS[4], ARGV[2])
  redis.pcall('EXPIRE', KEYS[4], ARGV[9])
end
local dropped = trim(groups)
if #groups > 0 then  -- the agent reads the stream: the channel is a bell
  if redis.call('DEL', waiting) == 1 then
    redis.pcall('SREM', KEYS[7], ARGV[12])
  end
  return {entry, redis.call('PUBLISH', stream, ARGV[5]), 0, dropped}
end
local heard = 0
if first_waiting() then
  redis.call('HINCRBY', waiting, 'count', 1)
else
  heard = redis.call('PUBLISH', stream, ARGV[5])
  if heard == 0 then
    redis.call('DEL', waiting)
    redis.call('HSET', waiting, 'first', entry, 'count', 1)
    redis.pcall('SADD', KEYS[7], ARGV[12])
  end
end
return {entry, heard, heard == 0 and 1 or 0, dropped}
