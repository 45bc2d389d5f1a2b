-- Tells an agent of an ack for a message of its own, if it says more than the last one.
--
-- KEYS  1 the message: ack that was told, receipt, stream (whose key stands in it, as nobody else knows the agent)
-- ARGV  1 ack  2 what that means  3 time, s since the epoch  4 stream bound
-- Gives 1 if the message is remembered; the key of the agent's receipts if that is of a wrong type: it is not told then.

local record = redis.call('HMGET', KEYS[1], 'ack', 'receipt', 'stream')
if not record[1] then
  return 0
end
local ack, told = tonumber(ARGV[1]), tonumber(record[1])
local is_news
if ack < 0 then
  is_news = told == 0
else
  is_news = math.min(ack, 3) > math.min(told, 3)
end
if not is_news then
  return 1
end
local receipt = cjson.decode(record[2])
receipt.status, receipt.at = ARGV[2], tonumber(ARGV[3])
local entry = redis.pcall('XADD', record[3], 'MAXLEN', '~', ARGV[4], '*', 'receipt', cjson.encode(receipt))
if type(entry) == 'table' and string.sub(entry.err, 1, 9) ~= 'WRONGTYPE' then
  return entry
end
redis.call('HSET', KEYS[1], 'ack', ARGV[1])
return type(entry) == 'table' and record[3] or 1
