-- Make the caller's generation of the group the owner, never a lower one (spec §4).
-- KEYS: the partition. ARGV: generation.
-- Gives {"FENCED", applied, digest, half written: "1" or "0"}, or a refusal: MOVING, SUPERSEDED, VERSION.

--- @include "includes/guards"

local elsewhere = moving(KEYS[1])
if elsewhere then
  return elsewhere
end
local found = redis.call("HMGET", KEYS[1], "generation", "applied", "digest", "half", "version")
if found[5] and found[5] ~= LAYOUT_VERSION then
  return { "VERSION", found[5] }
end
if found[1] and tonumber(found[1]) > tonumber(ARGV[1]) then
  return { "SUPERSEDED", found[1] }
end
redis.call("HSET", KEYS[1], "generation", ARGV[1], "version", LAYOUT_VERSION)
return { "FENCED", found[2] or "-1", found[3] or "", found[4] or "0" }
