-- Load a partition's state as it was at a later offset than its own (opd restore, an owner's rebuild; spec §4).
-- Departments are written under numbers that nobody uses, out of sight, and one last call puts them in the place of
-- those that were there. An owner that works meanwhile finds another applied offset then, and takes the partition
-- again. One that clears before or meanwhile, a flush, or another loading takes the name away: this one is refused.
-- KEYS: the partition. ARGV: the loading's name, its offset, generation or "" for who is no owner, the step, then
--   "begin": nothing; gives the highest number that was used
--   "invented": digest of the key and record, as includes/invented.lua keeps them
--   "department": key, day, sequence, arrivals, doctors, first bucket; gives the department's number
--   "write": number, then for each key: how many arguments, Redis' word, what comes after the prefix, the arguments
--   "end": digest of the record at the offset
--   "free": keys of the state that was there
-- Gives {"LOADING", number or 0} or a refusal; REWIND where the state is that far already, or the name is taken away.

--- @include "includes/guards"

local partition, name, offset, generation, step = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local elsewhere = moving(partition)
if elsewhere then
  return elsewhere
end
local loading, loading_invented = partition .. ":ld", partition .. ":lv"
local found = redis.call("HMGET", partition, "version", "generation", "applied", "half", "loading", "loaded", "clearing")
local stored, applied = tonumber(found[2] or -1), found[3] or "-1"

if found[1] and found[1] ~= LAYOUT_VERSION then
  return { "VERSION", found[1] }
elseif generation ~= "" and stored ~= tonumber(generation) then
  return { stored > tonumber(generation) and "SUPERSEDED" or "UNFENCED", tostring(stored) }
elseif step == "free" then
  if found[6] ~= name then
    return { "REWIND", applied }
  end
  redis.call("UNLINK", unpack(ARGV, 5))
  return { "LOADING", 0 }
elseif found[4] ~= "1" and tonumber(applied) >= tonumber(offset) then
  return { "REWIND", applied }
elseif found[7] or (step ~= "begin" and found[5] ~= name) then
  return { "REWIND", applied }
end

if step == "begin" then
  redis.call("DEL", loading, loading_invented)
  redis.call("HSET", partition, "version", LAYOUT_VERSION, "loading", name)
  return { "LOADING", tonumber(redis.call("HGET", partition, "departments") or 0) }
elseif step == "department" then
  local number = redis.call("HINCRBY", partition, "departments", 1)
  local header = { number }
  for i = 6, 10 do
    header[#header + 1] = tonumber(ARGV[i])
  end
  redis.call("HSET", loading, ARGV[5], cmsgpack.pack(unpack(header)))
  return { "LOADING", number }
elseif step == "invented" then
  redis.call("HSET", loading_invented, ARGV[5], ARGV[6])
  return { "LOADING", 0 }
elseif step == "write" then
  local prefix, at = partition .. ":" .. ARGV[5] .. ":", 6
  while at <= #ARGV do
    local last = at + 2 + tonumber(ARGV[at])
    redis.call(ARGV[at + 1], prefix .. ARGV[at + 2], unpack(ARGV, at + 3, last))
    at = last + 1
  end
  return { "LOADING", 0 }
end
redis.call("HSET", partition, "half", "1")
redis.call("DEL", partition .. ":d", partition .. ":v", partition .. ":o", partition .. ":f")
for from, to in pairs({ [loading] = ":d", [loading_invented] = ":v" }) do
  if redis.call("EXISTS", from) == 1 then
    redis.call("RENAME", from, partition .. to)
  end
end
redis.call("HDEL", partition, "blobs", "loading")
redis.call("HSET", partition, "applied", offset, "digest", ARGV[5], "loaded", name, "half", "0")
return { "LOADING", 0 }
