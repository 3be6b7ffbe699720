-- What every script asks before it does anything (spec §4): is the caller the owner, on the state it believes in?
--
-- <partition> hash: version, generation, applied (offset, -1 none), digest (of the applied record),
-- half (1 while a script is at work), departments (how many there ever were), blobs (packed last offsets, see :o)

local LAYOUT_VERSION = "3"

-- Give nil where all keys of the partition are here, else {"MOVING", why}. While a cluster moves a slot key by key, both
-- of its nodes refuse a command that names a key that they have and one that they have not. Asked before the first
-- write: else a script would fail in the middle here, and take what has not come yet for what never was there.
local function moving(partition)
  local found = redis.pcall("EXISTS", partition, partition .. ":none")
  if type(found) == "table" then
    return { "MOVING", found.err }
  end
end

-- Give nil where the caller may go on, else the refusal: its name and what was found.
local function refusal(partition, generation, expected)
  local elsewhere = moving(partition)
  if elsewhere then
    return elsewhere
  end
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
