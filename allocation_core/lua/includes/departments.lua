-- Departments: a packed header each in one hash, read for the whole batch at once and written once at its end.
--
-- <partition>:d           hash: department key -> header; those without a doctor may be in :v, see invented.lua
-- <partition>:<id>:n      hash: doctor id -> registration number, "#number" -> doctor id
-- <partition>:<id>:w      hash: registration number -> week, "slot weekday capacity;…"
-- <partition>:<id>:s      hash: "slot weekday" -> the sessions worked then: {number, capacity, doctor id, …}
-- <partition>:<id>:p      hash: "slot day" -> pool header; day -> the last token_no given out
-- <partition>:<id>:t<day> hash: token_no -> token
-- <partition>:<id>:i<k>   hash: command id -> what it was (R2), of the days 4k … 4k+3
-- <partition>:f           zset: departments that have something to forget, see forget.lua

local DAYS_A_BUCKET = 4

local function bucket_of(day)
  return (day - day % DAYS_A_BUCKET) / DAYS_A_BUCKET
end

-- Put what is stored of the departments beside their names.
local function load_departments(departments, partition)
  local names = {}
  for i, department in ipairs(departments) do
    names[i] = department.name
  end
  local headers = redis.call("HMGET", partition .. ":d", unpack(names))
  for i, department in ipairs(departments) do
    department.pools, department.tokens, department.numbers, department.worked = {}, {}, {}, {}
    department.ids = {}
    if headers[i] then
      local id, day, sequence, arrival, doctors, first_bucket = cmsgpack.unpack(headers[i])
      department.id, department.day, department.sequence = id, day, sequence
      department.arrival, department.doctors, department.first_bucket = arrival, doctors, first_bucket
      department.bucket, department.prefix = bucket_of(day), partition .. ":" .. id .. ":"
    else
      department.sequence, department.arrival, department.doctors, department.day = 0, 0, 0, -1
    end
  end
end

-- R3: the dates that a command may name.
local function set_dates(department)
  department.first_date, department.last_date = department.day - DAYS_BACK, department.day + DAYS_AHEAD
end

-- R3: the department's day is the latest that its records showed; a clock that goes back moves nothing.
local function reach_day(department, day)
  department.day_before = department.day_before or department.day
  department.day, department.bucket = day, bucket_of(day)
  set_dates(department)
end

-- R3: "DATE_IN_PAST", "DATE_TOO_FAR" or nil.
local function date_fault(department, day)
  if day < department.first_date then
    return "DATE_IN_PAST"
  elseif day > department.last_date then
    return "DATE_TOO_FAR"
  end
end

-- The doctor's registration number, or nil.
local function number_of(department, doctor_id)
  local number = department.numbers[doctor_id]
  if number == nil and department.doctors > 0 then
    number = tonumber(redis.call("HGET", department.prefix .. "n", doctor_id) or nil) or false
    department.numbers[doctor_id] = number
  end
  return number or nil
end

local function doctor_of(department, number)
  return redis.call("HGET", department.prefix .. "n", "#" .. number)
end

-- The sessions that the schedules make of a slot on a day: {number, capacity, doctor id, …} in order of registration.
local function worked_sessions(department, slot, day)
  local field = slot .. " " .. text_of(weekday_of(day))
  local worked = department.worked[field]
  if not worked then
    local packed = redis.call("HGET", department.prefix .. "s", field)
    worked = packed and cmsgpack.unpack(packed) or {}
    department.worked[field] = worked
  end
  return worked
end

local function save_departments(departments, partition)
  local headers = {}
  for _, department in ipairs(departments) do
    if department.id then
      headers[#headers + 1] = department.name
      headers[#headers + 1] = cmsgpack.pack(
        department.id, department.day, department.sequence, department.arrival, department.doctors, department.first_bucket
      )
    end
  end
  call_in_parts("HSET", partition .. ":d", headers, #headers)
end
