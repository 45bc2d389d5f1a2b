-- Gives leases back; those of others, and keys that hold something else, stay as they are.
--
-- KEYS  1 counter of fencing numbers, not touched   2... the leases
-- ARGV  1 what our leases end with

for i = 2, #KEYS do
  local text = redis.pcall('GET', KEYS[i])
  if type(text) == 'string' and string.sub(text, -#ARGV[1]) == ARGV[1] then
    redis.call('DEL', KEYS[i])
  end
end
