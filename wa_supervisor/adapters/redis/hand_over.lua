-- Hands one message over to an agent: seen-check, stream, owner of the chat, mark of "typing", channel; all or nothing.
--
-- KEYS  1 the agent's input stream (the channel has the same name)   2 seen   3 owner of the chat   4 chats with "typing"
-- ARGV  1 integration id  2 chat  3 session  4 message id  5 payload  6 "1" to mark "typing"
--       7 seen ttl, s  8 owner ttl, s  9 typing ttl, s  10 stream bound
-- Gives {entry id, how many heard it on the channel}, or nil if the message had been handed over before.
--
-- A script that fails is not rolled back, so what can fail comes before what makes the message "seen": a missing
-- permission for the channel is asked for, and XADD meets a stream of a wrong type or a full server.

if redis.call('EXISTS', KEYS[2]) == 1 then
  return nil
end
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', KEYS[1], '') then
  return redis.error_reply('NOPERM this user may not publish on the channels of agents')
end
local entry = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[10], '*',
  'payload', ARGV[5], 'integration_id', ARGV[1], 'session', ARGV[3], 'message_id', ARGV[4])
redis.call('SET', KEYS[2], entry, 'EX', ARGV[7])
redis.pcall('SET', KEYS[3], ARGV[1], 'EX', ARGV[8])
if ARGV[6] == '1' then
  redis.pcall('SADD', KEYS[4], ARGV[2])
  redis.pcall('EXPIRE', KEYS[4], ARGV[9])
end
return {entry, redis.call('PUBLISH', KEYS[1], ARGV[5])}
