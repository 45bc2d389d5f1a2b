-- Forgets marks where they have not moved since they were read.
--
-- KEYS  1 marks of the session: chat -> "time id"
-- ARGV  1 chat  2 its mark  3 chat ...
-- Gives how many were forgotten.

local forgotten = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return forgotten
