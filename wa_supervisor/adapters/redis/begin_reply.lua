-- Marks a reply as about to be sent, if it still is this daemon's, and lets its time begin anew.
--
-- An earlier mark gives way: whoever begins a reply again has found out that it was not sent before, and what is looked
-- for from now on is what is sent now.
--
-- KEYS  1 the agent's output stream   2 replies that were begun: entry -> JSON
-- ARGV  1 group  2 our consumer name  3 entry id  4 the mark
-- Gives 1, or 0 if another daemon has it or its fate is known.

local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not row or row[2] ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 1
