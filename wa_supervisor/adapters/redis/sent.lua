-- Remembers a message that was sent for a reply, and tells its agent.
--
-- KEYS  1 the message: ack that was told, receipt, stream   2 the agent's receipts
-- ARGV  1 receipt  2 ack  3 ttl, s  4 stream bound
-- Gives 1 if that was news, else 0; the key of the agent's receipts if that is of a wrong type: it is not told then.

local told = redis.call('HGET', KEYS[1], 'ack')
if told and math.min(tonumber(ARGV[2]), 3) <= math.min(tonumber(told), 3) then
  return 0
end
local entry = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'receipt', ARGV[1])
if type(entry) == 'table' and string.sub(entry.err, 1, 9) ~= 'WRONGTYPE' then
  return entry
end
redis.call('HSET', KEYS[1], 'ack', ARGV[2])
redis.call('HSETNX', KEYS[1], 'receipt', ARGV[1])  -- whose it is stays what was told first
redis.call('HSETNX', KEYS[1], 'stream', KEYS[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return type(entry) == 'table' and KEYS[2] or 1
