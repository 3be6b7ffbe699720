-- Pools: a packed header each, joined with the schedules when it is read, cached for the batch, written at its end.
--
-- A header is {closed, issued, how many wait of each class, then for each session that differs from its schedule: number,
-- taken, waiting pinned to it, capacity of that date or -1, away, token_no called or 0}.
--
-- <department>:<slot day>:a   hash: patient -> token_no of the active token (R4)
-- <department>:<slot day>:w   line by turn: waiting for any doctor; :w<number>, for that doctor alone
-- <department>:<slot day>:c<number>  line by exposure: CONFIRMED with that doctor
-- <department>:<slot day>:i<number>  line by turn: CHECKED_IN with that doctor

local SESSION_FIELDS, FIRST_SESSION = 6, 3 + LOWEST_CLASS

local function session_of(pool, number)
  local session = pool.by_number[number]
  if not session then
    session = {
      number = number, taken = 0, pinned = 0, override = -1, away = 0, called = 0,
      works = false, capacity = 0, doctor_id = false, -- with these it has room for its lines
    }
    pool.by_number[number] = session
    pool.touched[#pool.touched + 1] = session
  end
  return session
end

-- A line of a session's own: "c", "i" or "w".
local function line_of(pool, session, kind)
  local line = session[kind]
  if not line then
    line = new_line(pool.key .. kind .. text_of(session.number))
    session[kind] = line
  end
  return line
end

-- Put the schedules as they are now under what the pool keeps of its sessions.
local function join_schedules(department, pool)
  for _, session in ipairs(pool.touched) do
    session.works = false
  end
  local worked, sessions, n = worked_sessions(department, pool.slot, pool.day), {}, 0
  for i = 1, #worked, 3 do
    local session = session_of(pool, worked[i])
    session.works = true
    session.capacity = session.override >= 0 and session.override or worked[i + 1]
    session.doctor_id = worked[i + 2]
    n = n + 1
    sessions[n] = session
  end
  pool.sessions = sessions
end

-- A pool in which something may have been done: `packed` is its header, or false.
local function make_pool(department, field, day, packed)
  local pool = {
    field = field, day = day, slot = string.sub(field, 1, 11), key = department.prefix .. field .. ":",
    closed = 0, issued = 0, waiting = 0, unpinned = 0, by_number = {}, touched = {}, 0, 0, 0, 0, 0,
    active = {}, held = new_writes(department.prefix .. field .. ":a", "HSET"), tokens = tokens_of(department, day),
  }
  pool.tokens.pools[pool.slot] = pool
  if packed then
    local header = cmsgpack.unpack(packed)
    pool.closed, pool.issued = header[1], header[2]
    for class = EMERGENCY, LOWEST_CLASS do
      pool[class] = header[2 + class]
      pool.waiting = pool.waiting + pool[class]
    end
    pool.unpinned = pool.waiting
    for i = FIRST_SESSION, #header, SESSION_FIELDS do
      local session = session_of(pool, header[i])
      session.taken, session.pinned, session.override = header[i + 1], header[i + 2], header[i + 3]
      session.away, session.called = header[i + 4], header[i + 5]
      pool.unpinned = pool.unpinned - session.pinned
    end
  end
  join_schedules(department, pool)
  department.pools[field] = pool
  return pool
end

local function pool_at(department, field, day)
  return department.pools[field] or make_pool(department, field, day, redis.call("HGET", department.prefix .. "p", field))
end

local function pool_of(department, token)
  return token.tokens.pools[token.slot] or pool_at(department, token.slot .. " " .. token.day, token.day)
end

-- The pool's session of that doctor where the doctor works it, else nil.
local function worked_session(pool, doctor_id)
  for _, session in ipairs(pool.sessions) do
    if session.doctor_id == doctor_id then
      return session
    end
  end
end

local function doctor_name(department, session)
  if not session.doctor_id then
    session.doctor_id = doctor_of(department, session.number)
  end
  return session.doctor_id
end

-- R4: read which of the patients that are looked up, from the first to the last, have an active token in the pool.
local function load_active(pool, first, last)
  local found = redis.call("HMGET", pool.key .. "a", unpack(patients_asked, first, last))
  for i = 1, #found do
    if found[i] then
      pool.active[patients_asked[first + i - 1]] = tonumber(found[i])
    end
  end
end

-- R4: this token is the patient's active one from now on.
local function hold(pool, patient, no)
  pool.active[patient] = no
  local held = pool.held
  if held.taken and held.taken[patient] then
    write_out(held)
  end
  put(held, patient, no)
end

-- R4: the patient has no active token any more, and may come again.
local function release(pool, patient)
  pool.active[patient] = false
  take(pool.held, patient)
end

-- The token_no that the date's next token gets (§1): from 1, never used again.
local function take_no(department, day, tokens)
  if not tokens.last_no then
    tokens.last_no = tonumber(redis.call("HGET", department.prefix .. "p", day) or 0)
  end
  tokens.last_no = tokens.last_no + 1
  tokens.issued = true
  return tokens.last_no
end

local function pack_pool(pool)
  local header = { pool.closed, pool.issued, pool[1], pool[2], pool[3], pool[4], pool[5] }
  local n = FIRST_SESSION - 1
  local touched = pool.touched
  for i = 1, #touched do
    local session = touched[i]
    if session.taken > 0 or session.pinned > 0 or session.override >= 0 or session.away > 0 or session.called ~= 0 then
      header[n + 1], header[n + 2], header[n + 3] = session.number, session.taken, session.pinned
      header[n + 4], header[n + 5], header[n + 6] = session.override, session.away, session.called
      n = n + SESSION_FIELDS
    end
  end
  return cmsgpack.pack(header)
end

local function save_pools(department)
  local fields, n = {}, 0
  for field, pool in pairs(department.pools) do
    if pool.changed then
      fields[n + 1], fields[n + 2] = field, pack_pool(pool)
      n = n + 2
    end
  end
  for day, tokens in pairs(department.tokens) do
    if tokens.issued then
      fields[n + 1], fields[n + 2] = day, tokens.last_no
      n = n + 2
    end
  end
  call_in_parts("HSET", department.prefix .. "p", fields, n)
end
