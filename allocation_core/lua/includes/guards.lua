-- What every script asks before it does anything (spec §4): is the caller the owner, on the state it believes in?
--
-- <partition> hash: version, generation, applied (offset, -1 none), digest (of the applied record),
-- half (1 while a script is at work), departments (how many there ever were), blobs (packed last offsets, see :o)

local LAYOUT_VERSION = "1"

-- Give nil where the caller may go on, else the refusal: its name and what was found.
local function refusal(partition, generation, expected)
  local found = redis.call("HMGET", partition, "generation", "applied", "half", "version")
  local stored = tonumber(found[1] or -1)
  if found[4] and found[4] ~= LAYOUT_VERSION then
    return { "VERSION", found[4] }
  elseif stored < tonumber(generation) then
    return { "UNFENCED", tostring(stored) }
  elseif stored > tonumber(generation) then
    return { "SUPERSEDED", tostring(stored) }
  elseif found[3] == "1" then
    return { "HALF_WRITTEN", found[2] or "-1" }
  elseif (found[2] or "-1") ~= expected then
    return { "REWIND", found[2] or "-1" }
  end
end
