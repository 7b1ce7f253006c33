-- Takes back the counts of routers whose lease has ended, and of the one named.
-- KEYS: shared hash, leases. ARGV: prefix of routers' hashes, router that leaves or nothing.
-- Returns how many routers that were.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
if ARGV[2] ~= '' then
  table.insert(gone, ARGV[2])
end
for _, router in ipairs(gone) do
  local counts = redis.call('HGETALL', ARGV[1] .. router)
  for at = 1, #counts, 2 do
    local sum = redis.pcall('HINCRBY', KEYS[1], counts[at], -tonumber(counts[at + 1]))
    if type(sum) == 'number' and sum < 0 then
      redis.call('HSET', KEYS[1], counts[at], 0)
    end
  end
  redis.call('DEL', ARGV[1] .. router)
  redis.call('ZREM', KEYS[2], router)
end
return #gone
