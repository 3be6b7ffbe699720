-- What a department's commands name, read at once: one call a hash. What is not named (the tokens at the head of a line,
-- say) is read when it comes up.

-- Where each department's commands and names stand: the first row and the last, its pools, its dates.
local function read_heads()
  local departments = {}
  local at, row, token, patient = 5, 1, 1, 1
  for i = 1, heads[2] do
    local count, pools, dates_count = heads[at + 1], heads[at + 2], heads[at + 3]
    local department = { name = heads[at], first = row, last = row + count - 1, named = {} }
    departments[i] = department
    at, row = at + 4, row + count
    for n = 1, pools do
      local asked = heads[at + 2]
      department.named[n] = { field = heads[at], day = heads[at + 1], first = patient, last = patient + asked - 1 }
      patient, at = patient + asked, at + 3
    end
    department.dates = {}
    for n = 1, dates_count do
      local asked = heads[at + 1]
      department.dates[n] = { day = heads[at], first = token, last = token + asked - 1 }
      token, at = token + asked, at + 2
    end
  end
  assert(at == #heads + 1 and row == commands_count + 1, "heads left over")
  return departments
end

-- The schedules of the slots and weekdays that are named.
local function load_worked(department)
  local named, worked, fields, n = department.named, department.worked, {}, 0
  for i = 1, #named do
    local field = string.sub(named[i].field, 1, 11) .. " " .. text_of(weekday_of(named[i].day))
    if not worked[field] then
      n = n + 1
      fields[n], worked[field] = field, {}
    end
  end
  local found = call("HMGET", department.prefix .. "s", unpack(fields))
  for i = 1, n do
    worked[fields[i]] = found[i] and cmsgpack.unpack(found[i]) or worked[fields[i]]
  end
end

local function load_pools(department)
  local named, fields, last_nos = department.named, {}, {}
  for n = 1, #named do
    fields[n] = named[n].field
  end
  local n = #named
  for i = 1, #named do
    local day = named[i].day
    if not last_nos[day] then
      n = n + 1
      fields[n], last_nos[day] = day, n
    end
  end
  if n == 0 then
    return
  end
  load_worked(department)
  local found = call("HMGET", department.prefix .. "p", unpack(fields))
  for day, at in pairs(last_nos) do
    tokens_of(department, day).last_no = tonumber(found[at] or 0)
  end
  for i = 1, #named do
    local pool = make_pool(department, named[i].field, named[i].day, found[i])
    if found[i] and named[i].last >= named[i].first then
      load_active(pool, named[i].first, named[i].last)
    end
  end
end

local function load_needed(department)
  if department.id then
    load_ids(department)
    for _, date in ipairs(department.dates) do
      load_tokens(department, date.day, tokens_asked, date.first, date.last)
    end
    load_pools(department)
  end
end

-- The pool that a command names.
local function named_pool(department, row)
  local named = department.named[pool_places[row]]
  return pool_at(department, named.field, named.day)
end
