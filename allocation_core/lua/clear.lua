-- Begin a partition's state anew, for a rebuild from the log (spec §4): the owner's generation stays.
-- Called twice, with the deletion of the keys under the partition between: until the second call the state counts as
-- half written, so that what a deletion left over is never built upon.
-- KEYS: the partition. ARGV: generation, "begin" or "end".
-- Gives {"CLEARED"} or a refusal.

--- @include "includes/guards"

local found = tonumber(redis.call("HGET", KEYS[1], "generation") or -1)
if found ~= tonumber(ARGV[1]) then
  return { found > tonumber(ARGV[1]) and "SUPERSEDED" or "UNFENCED", tostring(found) }
end
redis.call("DEL", KEYS[1])
redis.call("HSET", KEYS[1], "generation", ARGV[1], "version", LAYOUT_VERSION, "half", ARGV[2] == "begin" and "1" or "0")
return { "CLEARED" }
