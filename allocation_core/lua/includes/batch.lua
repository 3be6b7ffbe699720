-- The commands of the batch, flat: the number of departments, then for each department its key, how many commands of it,
-- and these in log order, each: type, offset, day of its timestamp, then the type's own arguments.
-- The digests of the n-th command, 16 bytes each: of its sender and id, of its type and data.

local batch = cmsgpack.unpack(ARGV[6])
local digests = ARGV[7]

local DIGEST_BYTES = 16
local OWN_ARGUMENTS = 3 -- after the command's type, where the type's own begin

local function digests_of(n)
  local id, content = struct.unpack("c16c16", digests, (n - 1) * 2 * DIGEST_BYTES + 1)
  return id, content
end
