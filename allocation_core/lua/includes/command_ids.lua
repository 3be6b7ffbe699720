-- R2: what was sent under which id, by the department's day at first sight, in hashes of a few days each.
--
-- A value is the digest of type and data (16 bytes), then packed: the day first seen and, where a RequestToken
-- issued or raised a token, that token's day and token_no.

-- Read the ids of a whole batch at once: two or three calls a department instead of as many a command.
local function load_ids(department, ids)
  local newest = bucket_of(department.day)
  local oldest = math.max(department.first_bucket, bucket_of(department.day - DAYS_KEPT))
  for bucket = newest, oldest, -1 do
    local found = redis.call("HMGET", department.prefix .. "i" .. bucket, unpack(ids))
    for i, id in ipairs(ids) do
      if found[i] and not department.ids[id] then
        department.ids[id] = found[i]
      end
    end
  end
end

-- Give the reason and the token of the first one where the id is taken, else nil.
local function repeated(department, id, digest)
  local known = department.ids[id]
  if not known then
    return nil
  end
  local first_seen, token_day, token_no = cmsgpack.unpack(string.sub(known, DIGEST_BYTES + 1))
  if first_seen < department.day - DAYS_KEPT then
    return nil
  end
  local reason = string.sub(known, 1, DIGEST_BYTES) == digest and "DUPLICATE_COMMAND" or "ID_REUSED"
  return reason, token_day, token_no
end

local function remember(department, id, digest, token_day, token_no)
  local value
  if token_no then
    value = digest .. cmsgpack.pack(department.day, token_day, token_no)
  else
    value = digest .. cmsgpack.pack(department.day)
  end
  department.ids[id] = value
  local bucket = bucket_of(department.day)
  local new = department.new_ids[bucket]
  if not new then
    new = { count = 0 }
    department.new_ids[bucket] = new
  end
  local n = new.count + 2
  new[n - 1], new[n] = id, value
  new.count = n
end

local function save_ids(department)
  for bucket, new in pairs(department.new_ids) do
    redis.call("HSET", department.prefix .. "i" .. bucket, unpack(new))
  end
end
