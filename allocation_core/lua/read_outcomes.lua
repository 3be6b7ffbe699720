-- The stored outcomes of commands that are applied already (spec §4).
-- KEYS: the partition. ARGV: generation, expected applied offset, first offset and last offset wanted.
-- Gives {"OUTCOMES", blob, …}, each blob as decide_batch.lua gave it, or a refusal.

--- @include "includes/guards"

local refused = refusal(KEYS[1], ARGV[1], ARGV[2])
if refused then
  return refused
end
local first, last = tonumber(ARGV[3]), tonumber(ARGV[4])
local packed = redis.call("HGET", KEYS[1], "blobs")
local reply = { "OUTCOMES" }
for _, ends in ipairs(packed and cmsgpack.unpack(packed) or {}) do
  if tonumber(ends) >= first then
    reply[#reply + 1] = redis.call("HGET", KEYS[1] .. ":o", ends)
    if tonumber(ends) >= last then
      break
    end
  end
end
return reply
