-- Marks a reply as about to be sent, if it still is this daemon's, and lets its time begin anew.
--
-- One that was begun before, and whose mark nobody took back, may have been sent then: it keeps that time, and was named
-- only if it was each time.
--
-- KEYS  1 the agent's output stream   2 replies that were begun: entry -> JSON
-- ARGV  1 group  2 our consumer name  3 entry id  4 the mark
-- Gives 1, or 0 if another daemon has it or its fate is known.

local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not row or row[2] ~= ARGV[2] then
  return 0
end
local mark = ARGV[4]
local known = redis.call('HGET', KEYS[2], ARGV[3])
if known then
  local is_readable, before = pcall(cjson.decode, known)
  before = is_readable and type(before) == 'table' and before or {}
  local now = cjson.decode(mark)
  now.at, now.named = tonumber(before.at) or 0, before.named == true and now.named
  mark = cjson.encode(now)
end
redis.call('HSET', KEYS[2], ARGV[3], mark)
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
