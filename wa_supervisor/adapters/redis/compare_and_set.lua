-- Writes one record of the wish if it is still what the writer read, and rings the bell.
--
-- KEYS  1 the wish
-- ARGV  1 integration id  2 "1" if there was a record  3 that record  4 "1" if there shall be one  5 it  6 bell's channel
-- Gives 1 if it was written, 0 if somebody else had changed it.

local now = redis.call('HGET', KEYS[1], ARGV[1])
if (now and '1' or '0') ~= ARGV[2] or (now and now ~= ARGV[3]) then
  return 0
end
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.pcall('PUBLISH', ARGV[6], ARGV[1])
return 1
