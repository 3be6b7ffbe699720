-- Departments in which no doctor was ever registered: anybody can invent one, so they cost little (ADR 12). They have no
-- keys of their own, but a record in one hash, until a doctor is registered or too many of their ids are to be remembered.
--
-- <partition>:v   hash: digest of the department key (16 bytes) -> day (3), sequence (4), then for each command id
--                 remembered (R2): the id (16) and what it was (see command_ids.lua; it led to no token)

local INVENTED, MOST_IDS = ">I3I4", 8
local INVENTED_BYTES, ID_BYTES = 7, DIGEST_BYTES + SEEN_BYTES

-- The half of SHA-1 that stands for a name, which may be longer than all the rest (department_digest in digests.py).
local function digest_of_name(name)
  local hex, words = redis.sha1hex(name), {}
  for at = 1, 2 * DIGEST_BYTES, 8 do
    words[#words + 1] = tonumber(string.sub(hex, at, at + 7), 16)
  end
  return struct.pack(">I4I4I4I4", unpack(words))
end

local function load_invented(departments, partition)
  local unknown, fields = {}, {}
  for _, department in ipairs(departments) do
    if not department.id then
      department.invented = digest_of_name(department.name)
      unknown[#unknown + 1], fields[#fields + 1] = department, department.invented
    end
  end
  if #unknown == 0 then
    return
  end
  for i, record in ipairs(redis.call("HMGET", partition .. ":v", unpack(fields))) do
    local department = unknown[i]
    department.early = {}
    if record then
      department.day, department.sequence = struct.unpack(INVENTED, record)
      department.bucket = bucket_of(department.day)
      for at = INVENTED_BYTES + 1, #record, ID_BYTES do
        local id = string.sub(record, at, at + DIGEST_BYTES - 1)
        department.ids[id] = string.sub(record, at + DIGEST_BYTES, at + ID_BYTES - 1)
        department.early[#department.early + 1] = id
      end
      department.was_invented = true
    end
  end
end

-- The ids that R2 still remembers.
local function early_ids(department)
  local ids = {}
  for _, id in ipairs(department.early) do
    local _, first_seen = struct.unpack(SEEN, department.ids[id])
    if first_seen >= department.day - DAYS_KEPT then
      ids[#ids + 1] = id
    end
  end
  return ids
end

-- Give the department a number of its own, so that no key carries its name, and the keys that go with it.
local function settle(department, partition)
  if department.id then
    return
  end
  department.id = redis.call("HINCRBY", partition, "departments", 1)
  department.prefix = partition .. ":" .. department.id .. ":"
  department.new, department.first_bucket = true, department.bucket
  for _, id in ipairs(early_ids(department)) do
    local known = department.ids[id]
    local _, first_seen = struct.unpack(SEEN, known)
    local bucket = bucket_of(first_seen)
    redis.call("HSET", department.prefix .. "i" .. bucket, id, known)
    department.first_bucket = math.min(department.first_bucket, bucket)
  end
  if department.was_invented then
    redis.call("HDEL", partition .. ":v", department.invented)
  end
end

local function save_invented(departments, partition)
  local records, n = {}, 0
  for _, department in ipairs(departments) do
    if not department.id then
      local parts = { struct.pack(INVENTED, department.day, department.sequence) }
      for _, id in ipairs(early_ids(department)) do
        parts[#parts + 1] = id .. department.ids[id]
      end
      records[n + 1], records[n + 2] = department.invented, table.concat(parts)
      n = n + 2
    end
  end
  call_in_parts("HSET", partition .. ":v", records, n)
end
