-- Takes pods that are gone out of this router's counts, and out of the shared hash once no living router counts them.
-- KEYS: shared hash, own hash, leases. ARGV: router, prefix of routers' hashes, then fields.
for at = 3, #ARGV do
  local field = ARGV[at]
  local own = tonumber(redis.call('HGET', KEYS[2], field) or '0') or 0
  redis.call('HDEL', KEYS[2], field)
  local counted = false
  for _, router in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
    if router ~= ARGV[1] and redis.call('HEXISTS', ARGV[2] .. router, field) == 1 then
      counted = true
    end
  end
  if not counted then
    redis.call('HDEL', KEYS[1], field)
  elseif own ~= 0 then
    local sum = redis.pcall('HINCRBY', KEYS[1], field, -own)
    if type(sum) == 'number' and sum < 0 then
      redis.call('HSET', KEYS[1], field, 0)
    end
  end
end
return 0
