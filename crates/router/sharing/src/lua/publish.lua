-- Makes this router's counts what the arguments say and the shared hash the sum of all.
-- KEYS: shared hash, own hash, leases. ARGV: router, lease in ms, "all" or "some", then field and count by turns.
-- Returns 1 if the router had no lease: others may have taken back what it had published.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function set(field, count)
  local before = tonumber(redis.call('HGET', KEYS[2], field) or '0') or 0
  if count == before then
    return
  end
  local sum = redis.pcall('HINCRBY', KEYS[1], field, count - before)
  if type(sum) == 'table' then
    -- Not a number, whoever wrote it; or Redis is full, and then this fails too.
    redis.call('HSET', KEYS[1], field, count)
  elseif sum < 0 then
    redis.call('HSET', KEYS[1], field, 0)
  end
  if count == 0 then
    redis.call('HDEL', KEYS[2], field)
  else
    redis.call('HSET', KEYS[2], field, count)
  end
end

local fresh = redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[1])
local named = {}
for at = 4, #ARGV, 2 do
  named[ARGV[at]] = true
  set(ARGV[at], tonumber(ARGV[at + 1]))
end
if ARGV[3] == 'all' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    if not named[field] then
      set(field, 0)
    end
  end
end
return fresh
