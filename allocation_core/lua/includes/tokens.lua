-- Tokens: a packed record each, in one hash a department and date; what a batch names is read once and written once.

-- class, status, doctor, pin, present, times preempted, arrival, slot, patient (which holds no U+0000, R1)
local TOKEN = ">BBBBBHI4c11s"

-- What is known of the tokens of one date: by number a token, its record, or false; the changed ones, to be written; the
-- date's pools that were read, by slot.
local function tokens_of(department, day)
  local tokens = department.tokens[day]
  if not tokens then
    local key = department.prefix .. "t" .. day
    tokens = { key = key, known = {}, changed = {}, changes = 0, writes = new_writes(key, "HSET"), pools = {} }
    department.tokens[day] = tokens
  end
  return tokens
end

-- Read those of the numbers from the first to the last.
local function load_tokens(department, day, numbers_asked, first, last)
  local tokens = tokens_of(department, day)
  local known, packed = tokens.known, call("HMGET", tokens.key, unpack(numbers_asked, first, last))
  for i = 1, #packed do
    known[numbers_asked[first + i - 1]] = packed[i]
  end
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
  if department.doctors == 0 or day < department.day - DAYS_KEPT then
    return nil
  end
  local tokens = tokens_of(department, day)
  local token = tokens.known[no]
  if token == nil then
    token = call("HGET", tokens.key, no)
  end
  if type(token) == "string" then
    return unpack_token(tokens, no, day, token)
  end
  return token or nil
end

-- The tokens of these numbers, which are there, in the numbers' order.
local function find_tokens(department, day, nos)
  local known = tokens_of(department, day).known
  local found, unread = {}, {}
  for _, no in ipairs(nos) do
    if not known[no] then
      unread[#unread + 1] = no
    end
  end
  for first = 1, #unread, 1000 do
    load_tokens(department, day, unread, first, math.min(first + 999, #unread))
  end
  for i, no in ipairs(nos) do
    found[i] = find_token(department, day, no)
  end
  return found
end

-- A new token is written as it is now, and read again only where it is touched again: few are, in the same batch.
local function add_token(tokens, no, class, status, doctor, pin, arrival, slot, patient)
  local packed = pack(TOKEN, class, status, doctor, pin, 0, 0, arrival, slot, patient)
  tokens.known[no] = packed
  put(tokens.writes, no, packed)
end

local function save_tokens(department)
  for _, tokens in pairs(department.tokens) do
    for i = 1, tokens.changes do
      local token = tokens.changed[i]
      local preempted = token.preempted < MOST_PREEMPTED and token.preempted or MOST_PREEMPTED
      local packed = pack(
        TOKEN, token.class, token.status, token.doctor, token.pin, token.present, preempted, token.arrival, token.slot,
        token.patient
      )
      put(tokens.writes, token.no, packed)
    end
  end
end
