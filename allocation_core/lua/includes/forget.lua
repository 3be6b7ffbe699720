-- What R3 forgot no command can see; its storage is freed here, a bounded amount a batch.
--
-- <partition>:f   zset: number of a department whose day went on, by the first date that it still keeps

local STEPS_A_BATCH = 50 -- a department looked at, a pool or a date freed is a step each

-- Ids of a few days go at once: it is one key for all of them (see command_ids.lua).
local function forget_ids(department, day_before)
  local first = bucket_of(department.day - DAYS_KEPT)
  for bucket = department.first_bucket, math.min(first - 1, bucket_of(day_before)) do
    redis.call("UNLINK", department.prefix .. "i" .. bucket)
  end
  department.first_bucket = math.max(department.first_bucket, first)
end

local function free_pool(prefix, field)
  local key = prefix .. field .. ":"
  local keys = { key .. "a", key .. "w" }
  local header = cmsgpack.unpack(redis.call("HGET", prefix .. "p", field))
  for i = FIRST_SESSION, #header, SESSION_FIELDS do
    for _, kind in ipairs({ "w", "c", "i" }) do
      keys[#keys + 1] = key .. kind .. header[i]
    end
  end
  redis.call("UNLINK", unpack(keys))
end

-- Free the dates of one department before its first kept one, as far as the steps go; gives the steps left.
local function free_dates(prefix, first_kept, steps)
  for _, field in ipairs(redis.call("HKEYS", prefix .. "p")) do
    local slot, day = string.match(field, "^(%S+) (%d+)$")
    if tonumber(day or field) < first_kept then
      if steps == 0 then
        return 0
      end
      steps = steps - 1
      if slot then
        free_pool(prefix, field)
      else
        redis.call("UNLINK", prefix .. "t" .. field)
      end
      redis.call("HDEL", prefix .. "p", field)
    end
  end
  return steps
end

-- Of the departments whose day went on: forget at once what is cheap, and note the rest for later batches.
local function forget_past(departments, partition)
  for _, department in ipairs(departments) do
    if department.day_before and department.id and not department.new then
      forget_ids(department, department.day_before)
      redis.call("ZADD", partition .. ":f", department.day - DAYS_KEPT, department.id)
    end
  end
end

local function forget_some(partition)
  local steps = STEPS_A_BATCH
  while steps > 0 do
    local head = redis.call("ZRANGE", partition .. ":f", 0, 0, "WITHSCORES")
    if not head[1] then
      return
    end
    steps = free_dates(partition .. ":" .. head[1] .. ":", tonumber(head[2]), steps - 1)
    if steps > 0 then
      redis.call("ZREM", partition .. ":f", head[1])
    end
  end
end
