-- Takes leases that are free, renews ours, and says who has the others.
--
-- KEYS  1 counter of fencing numbers   2 hash: lease -> the text that it had last   3... the leases
-- ARGV  1 ttl, ms   2 what our leases end with, after the number   3... for each lease the text of a dead process's lease,
--       which is taken over if it is still there, or ''
-- Gives for each lease our number, the text of somebody else's lease, or nil for a key that holds no text.
--
-- One that ran out while we could not renew it, and that nobody had since, is ours again under the same number.
-- All of ours are renewed, which needs no memory, before the first one is taken: a full server costs nobody a lease.

local ttl, ours = ARGV[1], ARGV[2]
local answers, lapsed, free = {}, {}, {}

local function is_ours(text)
  return text and string.sub(text, -#ours) == ours
end

for i = 3, #KEYS do
  local text = redis.pcall('GET', KEYS[i])
  if type(text) == 'table' then
    if string.sub(text.err, 1, 9) ~= 'WRONGTYPE' then
      return text
    end
    answers[i - 2] = false
  elseif is_ours(text) then
    redis.call('PEXPIRE', KEYS[i], ttl)
    answers[i - 2] = tonumber(string.match(text, '%d+'))
  elseif text and (text == '' or text ~= ARGV[i]) then
    answers[i - 2] = text
  elseif not text and is_ours(redis.call('HGET', KEYS[2], KEYS[i])) then
    lapsed[#lapsed + 1] = i
  else
    free[#free + 1] = i
  end
end

for _, i in ipairs(lapsed) do
  local text = redis.call('HGET', KEYS[2], KEYS[i])
  redis.call('SET', KEYS[i], text, 'PX', ttl)
  answers[i - 2] = tonumber(string.match(text, '%d+'))
end

if #free > 0 then
  local before = redis.call('INCRBY', KEYS[1], #free) - #free
  for n, i in ipairs(free) do
    local text = string.format('{"fence":%.0f,', before + n) .. ours
    redis.call('SET', KEYS[i], text, 'PX', ttl)
    redis.call('HSET', KEYS[2], KEYS[i], text)
    answers[i - 2] = before + n
  end
end
return answers
