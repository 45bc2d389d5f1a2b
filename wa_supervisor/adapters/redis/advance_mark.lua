-- Moves the mark of a chat forward, never back.
--
-- KEYS  1 marks of the session: chat -> "time id"
-- ARGV  1 chat  2 the mark
-- Gives 1 if it moved.

local function time_of(mark)
  return tonumber(string.match(mark, '^%d+')) or 0
end

local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and time_of(known) > time_of(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
