-- Looks after output streams of agents: finds replies that dead daemons left, and trims what is settled.
--
-- KEYS  the streams
-- ARGV  1 group  2 our own consumer name  3 idle time in ms after which a dead daemon's reply is ours to take
--       4 prefix of the keys by which daemons are announced  5 bound of a stream  6 most replies named for each stream
-- Gives {{stream number, entry id, ...}, ...} for streams with something to take over, and as second answer
-- {{stream number, length}, ...} for streams that are still longer than the bound. A key that is no stream or has no
-- group is passed over: whoever reads it will say so.

local group, me, idle, announced, bound, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local left, long = {}, {}
local FORGOTTEN = 20  -- times as idle as a dead daemon's before a living one's is taken

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

local function take_stock(number, key, consumers)
  local found = {number}
  for _, flat in ipairs(consumers) do
    local consumer = fields_of(flat)
    local is_dead = consumer.name ~= me and redis.call('EXISTS', announced .. consumer.name) == 0
    if is_dead and consumer.pending == 0 and consumer.idle >= idle then
      redis.call('XGROUP', 'DELCONSUMER', key, group, consumer.name)
    elseif consumer.name ~= me and consumer.pending > 0 then
      -- One that lives may have forgotten a reply whose session went elsewhere. Taking it harms nothing: before
      -- anything is sent, it is asked whose it is.
      local longest = is_dead and idle or idle * FORGOTTEN
      for _, row in ipairs(redis.call('XPENDING', key, group, 'IDLE', longest, '-', '+', most, consumer.name)) do
        found[#found + 1] = row[1]
      end
    end
  end
  if #found > 1 then
    left[#left + 1] = found
  end
end

-- Everything before the oldest reply that is unsettled or unread may go.
local function trim(number, key)
  local oldest = redis.call('XPENDING', key, group)[2]
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local one = fields_of(flat)
    if one.name == group and not oldest then
      oldest = one['last-delivered-id']
    end
  end
  redis.call('XTRIM', key, 'MINID', '~', oldest)
  local length = redis.call('XLEN', key)
  if length > bound then
    long[#long + 1] = {number, length}
  end
end

for number, key in ipairs(KEYS) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', key, group)
  if not consumers.err then
    take_stock(number, key, consumers)
    if redis.call('XLEN', key) > bound then
      trim(number, key)
    end
  end
end
return {left, long}
