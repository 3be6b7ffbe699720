-- Begin a partition's state anew, for a rebuild from the log (spec §4): the owner's generation stays.
-- Called with "begin", with "delete" and the keys under the partition, with "end": until then the state counts as half
-- written, so that what a deletion left over is never built upon. A call that comes late, when this clearing is over or
-- another has begun, must not delete what was built since: each clearing has a name of its own. Departments get numbers
-- that nobody had, so that a key that is overlooked (its slot moved while keys were listed) is never read again.
-- KEYS: the partition. ARGV: generation, the clearing's name, "begin", "delete" or "end", keys to delete.
-- Gives {"CLEARED"} or a refusal.

--- @include "includes/guards"

local partition, generation, name, step = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local elsewhere = moving(partition)
if elsewhere then
  return elsewhere
end
local found = redis.call("HMGET", partition, "generation", "clearing", "applied", "departments")
local stored = tonumber(found[1] or -1)
if stored ~= tonumber(generation) then
  return { stored > tonumber(generation) and "SUPERSEDED" or "UNFENCED", tostring(stored) }
elseif step ~= "begin" and found[2] ~= name then
  return { "HALF_WRITTEN", found[3] or "-1" }
elseif step == "delete" then
  redis.call("UNLINK", unpack(ARGV, 4))
else
  redis.call("UNLINK", partition)
  for _, kind in ipairs({ "d", "v", "o", "f", "ld", "lv" }) do
    redis.call("UNLINK", partition .. ":" .. kind)
  end
  redis.call(
    "HSET", partition, "generation", generation, "version", LAYOUT_VERSION, "half", "0", "departments", found[4] or 0
  )
  if step == "begin" then
    redis.call("HSET", partition, "half", "1", "clearing", name)
  end
end
return { "CLEARED" }
