-- Publishes what waits for somebody to listen to one agent's channel, oldest first, as far as somebody does.
--
-- KEYS  1 the agent's input stream (the channel has the same name)   2 what waits   3 agents for whom something waits
-- ARGV  1 agent id  2 ms after which it is given up  3 entries read at once  4 how often that is done in one call
--       5 bytes after which the rest is left to the next call
-- Gives {published, still waiting, given up because too old, gone from the stream}.

local stream, waiting = KEYS[1], KEYS[2]

local function over(published, old, lost)
  redis.call('DEL', waiting)
  redis.pcall('SREM', KEYS[3], ARGV[1])
  return {published, 0, old, lost}
end

local function payload_of(row)
  for i = 1, #row[2], 2 do
    if row[2][i] == 'payload' then
      return row[2][i + 1]
    end
  end
  return ''
end

local first = redis.call('HGET', waiting, 'first')
local count = tonumber(redis.call('HGET', waiting, 'count') or '0')
if not first then
  return over(0, 0, 0)
end
if redis.call('EXISTS', stream) == 0 then
  return over(0, 0, count)
end
if #redis.call('XINFO', 'GROUPS', stream) > 0 then  -- the agent reads the stream now
  return over(0, 0, 0)
end

if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', stream, '') then
  return redis.error_reply("NOPERM this user may not publish on this agent's channel")
end

local page, pages, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = redis.call('TIME')
local oldest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[2])
local old, published = 0, 0

-- What is gone from the stream was the oldest: what waits is the end of it.
local lost = math.max(0, count - redis.call('XLEN', stream))

local function is_too_old()
  return tonumber(string.match(first, '%d+')) < oldest
end

local last_old = string.format('%.0f', oldest - 1)
for _ = 1, pages do
  local rows = is_too_old() and redis.call('XRANGE', stream, first, last_old, 'COUNT', page) or {}
  old = old + #rows
  if #rows > 0 then
    first = '(' .. rows[#rows][1]
  end
  if #rows < page then
    oldest = 0  -- there are no more
    break
  end
end

local function may_be_heard()
  local patterns, listeners = redis.pcall('PUBSUB', 'NUMPAT'), redis.pcall('PUBSUB', 'NUMSUB', stream)
  return listeners.err or listeners[2] > 0 or type(patterns) ~= 'number' or patterns > 0
end

-- A script that fails is not rolled back: a server that is full, or a replica, must refuse to note what was published
-- before the first one is, or it would be published again and again.
if may_be_heard() then
  redis.call('HSET', waiting, 'count', count)
else
  pages = 0
end

-- Whether a pattern is one of this channel is known when the first one is published.
local size = 1
while not is_too_old() and pages > 0 and bytes > 0 do
  local rows = redis.call('XRANGE', stream, first, '+', 'COUNT', size)
  pages, size = #rows < size and 0 or pages - 1, page
  for _, row in ipairs(rows) do
    local payload = payload_of(row)
    if bytes <= 0 or redis.call('PUBLISH', stream, payload) == 0 then
      pages = 0
      break
    end
    bytes = bytes - #payload
    published = published + 1
    first = '(' .. row[1]
  end
end

-- The end of the stream is the end of what waits; entries that somebody took out of its middle are gone too.
count = count - lost - old - published
if #redis.call('XRANGE', stream, first, '+', 'COUNT', 1) == 0 then
  return over(published, old, lost + math.max(0, count))
end
count = math.max(1, count)
if published + old + lost > 0 then
  redis.call('HSET', waiting, 'first', first, 'count', count)
end
return {published, count, old, lost}
