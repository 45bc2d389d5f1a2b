-- Takes back that a reply was begun, if nobody else began it since.
--
-- KEYS  1 replies that were begun: entry -> JSON
-- ARGV  1 our consumer name  2 entry id
-- Gives 1 if there was such a mark of ours. Another daemon that took the reply over may be sending it under its own.

local mark = redis.call('HGET', KEYS[1], ARGV[2])
local is_readable, begun = pcall(cjson.decode, mark or '')
if is_readable and type(begun) == 'table' and begun.daemon == ARGV[1] then
  return redis.call('HDEL', KEYS[1], ARGV[2])
end
return 0
