-- Takes leases that are free, renews ours, and says who has the others.
--
-- KEYS  1 counter of fencing numbers   2... the leases
-- ARGV  1 ttl, ms   2 what our leases end with, after the number   3... for each lease the text of a dead process's lease,
--       which is taken over if it is still there, or ''
-- Gives for each lease our number, the text of somebody else's lease, or nil for a key that holds no text.
--
-- All of ours are renewed, which needs no memory, before the first one is taken: a full server costs nobody a lease.

local ttl, ours = ARGV[1], ARGV[2]
local answers, free = {}, {}

for i = 2, #KEYS do
  local text = redis.pcall('GET', KEYS[i])
  if type(text) == 'table' then
    if string.sub(text.err, 1, 9) ~= 'WRONGTYPE' then
      return text
    end
    answers[i - 1] = false
  elseif not text or (text ~= '' and text == ARGV[i + 1]) then
    free[#free + 1] = i
  elseif string.sub(text, -#ours) == ours then
    redis.call('PEXPIRE', KEYS[i], ttl)
    answers[i - 1] = tonumber(string.match(text, '%d+'))
  else
    answers[i - 1] = text
  end
end

if #free > 0 then
  local before = redis.call('INCRBY', KEYS[1], #free) - #free
  for n, i in ipairs(free) do
    redis.call('SET', KEYS[i], string.format('{"fence":%.0f,', before + n) .. ours, 'PX', ttl)
    answers[i - 1] = before + n
  end
end
return answers
