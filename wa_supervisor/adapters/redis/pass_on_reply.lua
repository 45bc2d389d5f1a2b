-- Makes a reply another daemon's, if it still is this one's.
--
-- KEYS  1 the agent's output stream
-- ARGV  1 group  2 our consumer name  3 entry id  4 the other's consumer name
-- Gives 1, or 0 if it was not ours: whoever has it may be sending it.

local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not row or row[2] ~= ARGV[2] then
  return 0
end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[4], 0, ARGV[3], 'JUSTID')
return 1
