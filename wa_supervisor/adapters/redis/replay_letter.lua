-- Puts the reply of one dead letter into its agent's output stream and takes the letter out, both or neither.
--
-- KEYS  1 the dead letters  2 the agent's output stream (the channel has the same name)
-- ARGV  1 entry id of the letter  2 the reply as JSON
-- Gives the reply's entry id, or nil if the letter is gone: then somebody else replayed or dropped it.
--
-- A script that fails is not rolled back, so whether the letter may be taken out is tried first, on an entry that no
-- stream has; and the stream of the agent may be of a wrong type, so the reply goes in before the letter goes out.

redis.call('XDEL', KEYS[1], '0-0')
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  return false
end
local entry = redis.call('XADD', KEYS[2], '*', 'payload', ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[1])
redis.pcall('PUBLISH', KEYS[2], '')
return entry
