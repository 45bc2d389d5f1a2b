-- Adds one batch of events to the stream, unless this run of the daemon has added it before.
--
-- KEYS  1 the stream of events   2 number of the last batch of this run
-- ARGV  1 number of this batch  2 stream bound  3 ttl of the number, s  4.. events
-- Gives how many were added.
--
-- A script that fails is not rolled back: a stream of a wrong type or a full server fails with the first event, before
-- anything was added.

if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[2]) or '0') then
  return 0
end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[i])
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
return #ARGV - 3
