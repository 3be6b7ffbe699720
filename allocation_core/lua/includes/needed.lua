-- What a department's commands name, gathered while the batch is read, so that each hash is read once for all of them.
--
-- Gathered: the fields of the pools' hash (pools, and dates of which tokens are asked), the patients by pool, the token
-- numbers by day. What is not named (the tokens at the head of a line, say) is read when it comes up.

local function new_needed()
  return { fields = {}, patients = {}, numbers = {}, days = {} }
end

-- Arguments: day, pool field, …
local function need_pool(needed, at)
  local day, field = batch[at], batch[at + 1]
  local patients = needed.patients[field]
  if not patients then
    patients = { day = day }
    needed.patients[field] = patients
    needed.fields[#needed.fields + 1] = field
  end
  return patients
end

-- Arguments of RequestToken: day, pool field, class, patient, …
local function need_patient(needed, at)
  local patients = needed.patients[batch[at + 1]] or need_pool(needed, at)
  patients[#patients + 1] = batch[at + 3]
  needed.days[batch[at]] = true
end

-- Arguments: day and token_no, or -1 and "".
local function need_token(needed, at)
  local day = batch[at]
  if day >= 0 then
    local numbers = needed.numbers[day]
    if not numbers then
      numbers = {}
      needed.numbers[day] = numbers
    end
    numbers[#numbers + 1] = batch[at + 1]
  end
end

local function load_pools(department, needed)
  local fields, pools = needed.fields, #needed.fields
  for day in pairs(needed.days) do
    fields[#fields + 1] = day
  end
  if #fields == 0 then
    return
  end
  local found = redis.call("HMGET", department.prefix .. "p", unpack(fields))
  for i = 1, pools do
    local patients = needed.patients[fields[i]]
    local pool = make_pool(department, fields[i], patients.day, found[i])
    if #patients > 0 and found[i] then
      load_active(pool, patients)
    end
  end
  for i = pools + 1, #fields do
    tokens_of(department, fields[i]).last_no = tonumber(found[i] or 0)
  end
end

local function load_needed(department)
  if department.id then
    load_ids(department)
    for day, numbers in pairs(department.needed.numbers) do
      load_tokens(department, day, numbers)
    end
    load_pools(department, department.needed)
  end
end
