-- One department's state as it stands at one offset (I9, snapshots); asked by anybody, the owner or not.
-- KEYS: the partition. ARGV: department key, its digest, "1" to read what follows from the rest too, else "0".
-- Gives {"READ", applied, digest, half, how many departments there are, header or "", then, for each key of the department that holds something, what
-- comes after its prefix and its content: a flat list, of a sorted set with scores}, or a refusal: MOVING, VERSION. Where
-- there is no header, what follows is the record of includes/invented.lua, if there is one.

--- @include "includes/guards"
--- @include "includes/words"
--- @include "includes/departments"

local elsewhere = moving(KEYS[1])
if elsewhere then
  return elsewhere
end
local marks = redis.call("HMGET", KEYS[1], "applied", "digest", "half", "version")
if marks[4] and marks[4] ~= LAYOUT_VERSION then
  return { "VERSION", marks[4] }
end
local header = redis.call("HGET", KEYS[1] .. ":d", ARGV[1])
local departments = redis.call("HLEN", KEYS[1] .. ":d") + redis.call("HLEN", KEYS[1] .. ":v")
local reply = { "READ", marks[1] or "-1", marks[2] or "", marks[3] or "0", departments, header or "" }
if not header then
  reply[7] = redis.call("HGET", KEYS[1] .. ":v", ARGV[2]) or nil
  return reply
end
local id, today, _, _, doctors, first_bucket = cmsgpack.unpack(header)
local prefix = KEYS[1] .. ":" .. id .. ":"

local function add(suffix, ...)
  local content = redis.call(...)
  if #content > 0 then
    reply[#reply + 1], reply[#reply + 2] = suffix, content
  end
end

local function add_hash(suffix)
  add(suffix, "HGETALL", prefix .. suffix)
end

local function add_line(suffix)
  add(suffix, "ZRANGE", prefix .. suffix, 0, -1, "WITHSCORES")
end

local function add_lines(field)
  add_hash(field .. ":a")
  add_line(field .. ":w")
  for number = 1, doctors do
    add_line(field .. ":w" .. number)
    add_line(field .. ":c" .. number)
    add_line(field .. ":i" .. number)
  end
end

for _, suffix in ipairs({ "n", "w", "s", "p" }) do
  add_hash(suffix)
end
for _, field in ipairs(redis.call("HKEYS", prefix .. "p")) do
  local day = tonumber(string.match(field, "(%d+)$"))
  if day >= today - DAYS_KEPT then
    if tostring(day) == field then
      add_hash("t" .. field)
    elseif ARGV[3] == "1" then
      add_lines(field)
    end
  end
end
for bucket = math.max(first_bucket, bucket_of(today - DAYS_KEPT)), bucket_of(today) do
  add_hash("i" .. bucket)
end
return reply
