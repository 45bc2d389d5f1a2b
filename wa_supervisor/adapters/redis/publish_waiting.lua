-- Publishes what waits for somebody to listen to one agent's channel, oldest first, as far as somebody does.
--
-- KEYS  1 the agent's input stream (the channel has the same name)   2 what waits   3 agents for whom something waits
-- ARGV  1 agent id  2 ms after which it is given up  3 entries read at once  4 how often that is done in one call
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

local page, pages = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = redis.call('TIME')
local oldest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[2])
local old, published = 0, 0

-- What is gone from the stream was the oldest: what waits is the end of it.
local lost = math.max(0, count - redis.call('XLEN', stream))
count = count - lost

for _ = 1, pages do
  if tonumber(string.match(first, '%d+')) >= oldest then
    break
  end
  local rows = redis.call('XRANGE', stream, first, string.format('%.0f', oldest - 1), 'COUNT', page)
  old = old + #rows
  if #rows == 0 then
    break
  end
  first = '(' .. rows[#rows][1]
end

local is_heard = redis.call('PUBSUB', 'NUMSUB', stream)[2] > 0
for _ = 1, pages do
  local rows = is_heard and redis.call('XRANGE', stream, first, '+', 'COUNT', page) or {}
  for _, row in ipairs(rows) do
    if redis.call('PUBLISH', stream, payload_of(row)) == 0 then
      is_heard = false
      break
    end
    published = published + 1
    first = '(' .. row[1]
  end
  if #rows < page then
    break
  end
end

count = count - old - published
if count <= 0 then
  return over(published, old, lost)
end
redis.call('HSET', waiting, 'first', first, 'count', count)
return {published, count, old, lost}
