-- Remembers a message that was sent for a reply, and tells its agent.
--
-- KEYS  1 the message: ack that was told, receipt, stream   2 the agent's receipts
-- ARGV  1 receipt  2 ack  3 ttl, s  4 stream bound
-- Gives 1 if that was news.

local told = redis.call('HGET', KEYS[1], 'ack')
if told and math.min(tonumber(ARGV[2]), 3) <= math.min(tonumber(told), 3) then
  return 0
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'receipt', ARGV[1])
redis.call('HSET', KEYS[1], 'ack', ARGV[2], 'receipt', ARGV[1], 'stream', KEYS[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
