-- R2: what was sent under which id, by the department's day at first sight, in hashes of a few days each.
--
-- A value is the digest of type and data (16 bytes), the day first seen (3) and, where a RequestToken issued or raised a
-- token, how far that token's day is from the day before (1) and its token_no (4).

local SEEN, SEEN_WITH_TOKEN = ">c16I3", ">c16I3BI4"
local SEEN_BYTES = 19

-- Read the ids of a whole batch at once: two or three calls a department instead of as many a command.
local function load_ids(department)
  local known, first = department.ids, department.first
  local newest = department.bucket
  local oldest = math.max(department.first_bucket, bucket_of(department.day - DAYS_KEPT))
  for bucket = newest, oldest, -1 do
    local found = call("HMGET", department.prefix .. "i" .. bucket, unpack(senders, first, department.last))
    for i = 1, #found do
      if found[i] then
        local id = senders[first + i - 1]
        known[id] = known[id] or found[i]
      end
    end
  end
end

-- Give the reason and the token of the first one where the id is taken, else nil.
local function repeated(department, known, content)
  local digest, first_seen = struct.unpack(SEEN, known)
  if first_seen < department.day - DAYS_KEPT then
    return nil
  end
  local reason = digest == content and "DUPLICATE_COMMAND" or "ID_REUSED"
  if #known > SEEN_BYTES then
    local _, _, ahead, token_no = struct.unpack(SEEN_WITH_TOKEN, known)
    return reason, first_seen - DAYS_BACK + ahead, token_no
  end
  return reason
end

local function remember(department, row, token_day, token_no)
  local id, day, value = senders[row], department.day, nil
  if token_no then
    value = pack(SEEN_WITH_TOKEN, contents[row], day, token_day - day + DAYS_BACK, token_no)
  else
    value = pack(SEEN, contents[row], day)
  end
  department.ids[id] = value
  if not department.id then
    department.early[#department.early + 1] = id
    return
  end
  if department.bucket ~= department.remembered_in then
    department.remembered_in = department.bucket
    department.remembered = new_writes(department.prefix .. "i" .. department.bucket, "HSET")
  end
  put(department.remembered, id, value)
end
