-- Gives leases back; those of others, and keys that hold something else, stay as they are.
--
-- KEYS  1 counter of fencing numbers, not touched   2 hash: lease -> the text that it had last   3... the leases
-- ARGV  1 what our leases end with

local function is_ours(text)
  return type(text) == 'string' and string.sub(text, -#ARGV[1]) == ARGV[1]
end

for i = 3, #KEYS do
  if is_ours(redis.pcall('GET', KEYS[i])) then
    redis.call('DEL', KEYS[i])
  end
  if is_ours(redis.call('HGET', KEYS[2], KEYS[i])) then
    redis.call('HDEL', KEYS[2], KEYS[i])
  end
end
