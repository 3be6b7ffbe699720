-- Tokens: a packed record each, in one hash a department and date; read once and written once a batch.

-- class, status, doctor, pin, present, times preempted, arrival, slot, patient (which holds no U+0000, R1)
local TOKEN = ">BBBBBHI4c11s"

local function tokens_of(department, day)
  local tokens = department.tokens[day]
  if not tokens then
    tokens = { known = {}, changed = {}, changes = 0 }
    department.tokens[day] = tokens
  end
  return tokens
end

local function change(token)
  if not token.is_changed then
    token.is_changed = true
    local tokens = token.tokens
    tokens.changes = tokens.changes + 1
    tokens.changed[tokens.changes] = token
  end
end

local function unpack_token(tokens, no, day, packed)
  local class, status, doctor, pin, present, preempted, arrival, slot, patient = struct.unpack(TOKEN, packed)
  local token = {
    tokens = tokens, no = no, day = day, slot = slot, class = class, status = status, doctor = doctor,
    arrival = arrival, preempted = preempted, present = present, pin = pin, patient = patient,
  }
  tokens.known[no] = token
  return token
end

-- The token, or nil where there is none or its date is forgotten (R3).
local function find_token(department, day, no)
  if day < department.day - DAYS_KEPT then
    return nil
  end
  local tokens = tokens_of(department, day)
  local token = tokens.known[no]
  if token then
    return token
  end
  local packed = redis.call("HGET", department.prefix .. "t" .. day, no)
  return packed and unpack_token(tokens, no, day, packed) or nil
end

-- The tokens of these numbers, which are there, in the numbers' order.
local function find_tokens(department, day, numbers)
  local tokens = tokens_of(department, day)
  local found, unread = {}, {}
  for _, no in ipairs(numbers) do
    if not tokens.known[no] then
      unread[#unread + 1] = no
    end
  end
  for first = 1, #unread, 1000 do
    local last = math.min(first + 999, #unread)
    local packed = redis.call("HMGET", department.prefix .. "t" .. day, unpack(unread, first, last))
    for i = first, last do
      unpack_token(tokens, unread[i], day, packed[i - first + 1])
    end
  end
  for i, no in ipairs(numbers) do
    found[i] = tokens.known[no]
  end
  return found
end

local function new_token(department, pool, no, class, patient, pin)
  department.arrival = department.arrival + 1
  local tokens = tokens_of(department, pool.day)
  local token = {
    tokens = tokens, no = no, day = pool.day, slot = pool.slot, class = class, status = WAITLISTED, doctor = 0,
    arrival = department.arrival, preempted = 0, present = 0, pin = pin, patient = patient,
  }
  tokens.known[no] = token
  change(token)
  return token
end

local function save_tokens(department)
  for day, tokens in pairs(department.tokens) do
    for first = 1, tokens.changes, 1000 do
      local fields, n = {}, 0
      for i = first, math.min(first + 999, tokens.changes) do
        local token = tokens.changed[i]
        local preempted = token.preempted < MOST_PREEMPTED and token.preempted or MOST_PREEMPTED
        fields[n + 1], fields[n + 2] = token.no, struct.pack(
          TOKEN, token.class, token.status, token.doctor, token.pin, token.present, preempted, token.arrival, token.slot,
          token.patient
        )
        n = n + 2
      end
      redis.call("HSET", department.prefix .. "t" .. day, unpack(fields))
    end
  end
end
