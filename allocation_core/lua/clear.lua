-- Begin a partition's state anew, for a rebuild from the log (spec §4): the owner's generation stays.
-- KEYS: the partition. ARGV: generation. Keys under the partition are the caller's to delete first.
-- Gives {"CLEARED"} or a refusal.

--- @include "includes/guards"

local found = redis.call("HGET", KEYS[1], "generation")
if tonumber(found or -1) ~= tonumber(ARGV[1]) then
  return { tonumber(found or -1) > tonumber(ARGV[1]) and "SUPERSEDED" or "UNFENCED", found or "-1" }
end
redis.call("DEL", KEYS[1])
redis.call("HSET", KEYS[1], "generation", ARGV[1], "version", LAYOUT_VERSION)
return { "CLEARED" }
