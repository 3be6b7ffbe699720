-- What an operator may say of a partition's state (opd rebuild, opd reset-generation).
-- KEYS: the partition. ARGV: "rebuild": not to be built upon any more; "generation": the fence is forgotten.
-- Gives {"MARKED", applied}, {"EMPTY"} where there is no state, or a refusal: MOVING, VERSION.

--- @include "includes/guards"

local elsewhere = moving(KEYS[1])
if elsewhere then
  return elsewhere
end
local found = redis.call("HMGET", KEYS[1], "version", "applied", "generation")
if found[1] and found[1] ~= LAYOUT_VERSION then
  return { "VERSION", found[1] }
elseif ARGV[1] == "rebuild" and not found[2] then
  return { "EMPTY" }
elseif ARGV[1] == "rebuild" then
  redis.call("HSET", KEYS[1], "half", "1")
elseif redis.call("HDEL", KEYS[1], "generation") == 0 then
  return { "EMPTY" }
end
return { "MARKED", found[2] or "-1" }
