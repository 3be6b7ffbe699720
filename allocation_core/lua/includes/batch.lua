-- The commands of the batch, flat: the number of departments, then for each department its key, how many commands of it,
-- and these in log order, each: type, offset, day of its timestamp, then the type's own arguments.
-- The digests of the n-th command, 16 bytes each: of its sender and id, of its type and data.

local batch = cmsgpack.unpack(ARGV[6])
local digests = ARGV[7]

local DIGEST_BYTES = 16
local OWN_ARGUMENTS = 3 -- after the command's type, where the type's own begin

local DIGESTS_A_CALL = 1000 -- Lua's stack holds 8,000

-- The digests of so many commands behind `before` others: of the first one's id, of its content, of the second one's id, …
local function digests_of(before, count)
  local at = before * 2 * DIGEST_BYTES + 1
  if 2 * count <= DIGESTS_A_CALL then
    return { struct.unpack(string.rep("c16", 2 * count), digests, at) }
  end
  local found = {}
  for i = 1, 2 * count do
    found[i], at = struct.unpack("c16", digests, at)
  end
  return found
end
