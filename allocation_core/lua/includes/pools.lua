-- Pools: a packed header each, joined with the schedules when it is read, cached for the batch, written at its end.
--
-- A header is {closed, issued, last unpinned waiting, then for each session that differs from its schedule: number,
-- taken, waiting pinned to it, capacity of that date or -1, away, token_no called or 0}.
--
-- <department>:<slot day>:a   hash: patient -> token_no of the active token (R4)
-- <department>:<slot day>:w   zset: token_no by turn, waiting for any doctor; :w<number>, for that doctor alone
-- <department>:<slot day>:c<number>  zset: token_no by exposure, CONFIRMED with that doctor
-- <department>:<slot day>:i<number>  zset: token_no by turn, CHECKED_IN with that doctor

local SESSION_FIELDS = 6

local function session_of(pool, number)
  local session = pool.by_number[number]
  if not session then
    session = { number = number, taken = 0, pinned = 0, override = -1, away = 0, called = 0, works = false, capacity = 0 }
    pool.by_number[number] = session
    pool.touched[#pool.touched + 1] = session
  end
  return session
end

-- The key of what a session has of its own: "c", "i" or "w". Kept, because writing out a number costs more than to look.
local function key_of(pool, session, kind)
  local key = session[kind]
  if not key then
    key = pool.key .. kind .. session.number
    session[kind] = key
  end
  return key
end

-- Put the schedules as they are now under what the pool keeps of its sessions.
local function join_schedules(department, pool)
  for _, session in ipairs(pool.touched) do
    session.works = false
  end
  local worked = worked_sessions(department, pool.slot, weekday_of(pool.day))
  pool.sessions = {}
  for i = 1, #worked, 3 do
    local session = session_of(pool, worked[i])
    session.works = true
    session.capacity = session.override >= 0 and session.override or worked[i + 1]
    session.doctor_id = worked[i + 2]
    pool.sessions[#pool.sessions + 1] = session
  end
end

local function pool_at(department, field, day)
  local pool = department.pools[field]
  if pool then
    return pool
  end
  pool = {
    field = field, day = day, slot = string.sub(field, 1, 11), key = department.prefix .. field .. ":",
    closed = 0, issued = 0, waiting = 0, unpinned = 0, by_number = {}, touched = {},
  }
  local packed = redis.call("HGET", department.prefix .. "p", field)
  if packed then
    local header = cmsgpack.unpack(packed)
    pool.closed, pool.issued, pool.unpinned = header[1], header[2], header[3]
    pool.waiting = pool.unpinned
    for i = 4, #header, SESSION_FIELDS do
      local session = session_of(pool, header[i])
      session.taken, session.pinned, session.override = header[i + 1], header[i + 2], header[i + 3]
      session.away, session.called = header[i + 4], header[i + 5]
      pool.waiting = pool.waiting + session.pinned
    end
  end
  join_schedules(department, pool)
  department.pools[field] = pool
  return pool
end

local function pool_of(department, token)
  return pool_at(department, token.slot .. " " .. token.day, token.day)
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

-- R4: make this token the patient's active one in the pool; gives the one that is there already instead, else nil.
local function claim(pool, patient, no)
  if redis.call("HSETNX", pool.key .. "a", patient, no) == 0 then
    return redis.call("HGET", pool.key .. "a", patient)
  end
end

local function active_no(pool, patient)
  return redis.call("HGET", pool.key .. "a", patient) or nil
end

-- The token_no that the date's next token gets (§1): from 1, never used again.
local function next_no(department, day)
  local tokens = tokens_of(department, day)
  if not tokens.last_no then
    tokens.last_no = tonumber(redis.call("HGET", department.prefix .. "p", day) or 0)
  end
  return string.format("%d", tokens.last_no + 1)
end

local function use_next_no(department, day)
  local tokens = tokens_of(department, day)
  tokens.last_no = tokens.last_no + 1
  tokens.issued = true
end

local function pack_pool(pool)
  local header = { pool.closed, pool.issued, pool.unpinned }
  for _, session in ipairs(pool.touched) do
    if session.taken > 0 or session.pinned > 0 or session.override >= 0 or session.away > 0 or session.called ~= 0 then
      local n = #header
      header[n + 1], header[n + 2], header[n + 3] = session.number, session.taken, session.pinned
      header[n + 4], header[n + 5], header[n + 6] = session.override, session.away, session.called
    end
  end
  return cmsgpack.pack(header)
end

local function save_pools(department)
  local fields = {}
  for field, pool in pairs(department.pools) do
    if pool.changed then
      fields[#fields + 1] = field
      fields[#fields + 1] = pack_pool(pool)
    end
  end
  for day, tokens in pairs(department.tokens) do
    if tokens.issued then
      fields[#fields + 1] = day
      fields[#fields + 1] = tokens.last_no
    end
  end
  for first = 1, #fields, 4000 do
    redis.call("HSET", department.prefix .. "p", unpack(fields, first, math.min(first + 3999, #fields)))
  end
end
