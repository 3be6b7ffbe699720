-- RegisterDoctor (R16). Text: doctor id; further: the week, "slot weekday capacity;…" for every slot and weekday worked.

local function capacities_of(week)
  local capacities = {}
  for field, capacity in string.gmatch(week, "(%S+ %d) (%d+);") do
    capacities[field] = tonumber(capacity)
  end
  return capacities
end

-- Put the doctor among the sessions of a slot and weekday in order of registration, or take them out (capacity nil).
local function work(department, field, number, doctor_id, capacity)
  local packed = redis.call("HGET", department.prefix .. "s", field)
  local worked, changed, placed = packed and cmsgpack.unpack(packed) or {}, {}, false
  local function place()
    if capacity and not placed then
      changed[#changed + 1], changed[#changed + 2], changed[#changed + 3] = number, capacity, doctor_id
    end
    placed = true
  end
  for i = 1, #worked, 3 do
    if worked[i] > number then
      place()
    end
    if worked[i] ~= number then
      changed[#changed + 1], changed[#changed + 2], changed[#changed + 3] = worked[i], worked[i + 1], worked[i + 2]
    end
  end
  place()
  if #changed > 0 then
    redis.call("HSET", department.prefix .. "s", field, cmsgpack.pack(changed))
  else
    redis.call("HDEL", department.prefix .. "s", field)
  end
end

local function replace_week(department, number, doctor_id, week)
  local before = redis.call("HGET", department.prefix .. "w", number)
  local old, new = before and capacities_of(before) or {}, capacities_of(week)
  for field in pairs(old) do
    if not new[field] then
      work(department, field, number, doctor_id, nil)
    end
  end
  for field, capacity in pairs(new) do
    if old[field] ~= capacity then
      work(department, field, number, doctor_id, capacity)
    end
  end
  redis.call("HSET", department.prefix .. "w", number, week)
end

-- R16: the open pools from the day before on that ever issued a token, in date then slot order.
local function pools_to_review(department)
  local pools = {}
  local fields = redis.call("HKEYS", department.prefix .. "p")
  local listed = {}
  for _, field in ipairs(fields) do
    listed[field] = true
  end
  for field, pool in pairs(department.pools) do
    if not listed[field] then
      fields[#fields + 1] = field
    end
  end
  for _, field in ipairs(fields) do
    local day = tonumber(string.match(field, " (%d+)$"))
    if day and day >= department.day - DAYS_BACK then
      local pool = pool_at(department, field, day)
      if pool.issued == 1 and pool.closed == 0 then
        pools[#pools + 1] = pool
      end
    end
  end
  table.sort(pools, function(a, b)
    if a.day ~= b.day then
      return a.day < b.day
    end
    return a.slot < b.slot
  end)
  return pools
end

local function register_doctor(department, row)
  local doctor_id, week = texts[row], further_texts[row]
  local number = number_of(department, doctor_id)
  if not number and department.doctors >= MOST_DOCTORS then
    return reject("DEPARTMENT_FULL")
  end
  -- From here it must succeed.
  settle(department, KEYS[1])
  if not number then
    department.doctors = department.doctors + 1
    number = department.doctors
    department.numbers[doctor_id] = number
    redis.call("HSET", department.prefix .. "n", doctor_id, number, "#" .. number, doctor_id)
  end
  replace_week(department, number, doctor_id, week)
  say(SAYS.REGISTERED)
  department.worked = {}
  for _, pool in pairs(department.pools) do
    join_schedules(department, pool)
  end
  for _, pool in ipairs(pools_to_review(department)) do
    local session = pool.by_number[number]
    in_pool(pool)
    if session and not session.works then
      empty_session(department, pool, session)
    end
    promote(department, pool, "DOCTOR_REGISTERED")
  end
end
