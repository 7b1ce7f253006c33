-- Publishes what a router's users consumed and says which other routers there are.
-- KEYS: own hash, routers. ARGV: router, seconds to live, then field and value by turns; an empty value removes.
local time = redis.call('TIME')
local now = tonumber(time[1])
for at = 3, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[at])
  else
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local others = {}
for _, router in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if router ~= ARGV[1] then
    table.insert(others, router)
  end
end
return others
