-- RequestToken (R4-R7). Arguments: day, pool field, class, patient, pinned doctor id or "".

-- R4a: the token held is raised to an emergency; one that waited is seated if it can be.
local function upgrade(department, pool, token, pin)
  local from = token.class
  if token.status ~= WAITLISTED then
    local session = session_of(pool, token.doctor)
    token.class = EMERGENCY
    add_to_session(pool, session, token) -- where it stands already: its score alone changes
    change(token)
    say("U", token.no, token.status, doctor_name(department, session), from)
    return
  end
  end_waiting(pool, token)
  token.class, token.pin = EMERGENCY, pin
  begin_waiting(pool, token)
  say("U", token.no, token.status, "", from)
  local session = best_session(pool, pin)
  if not session then
    local victim = find_victim(department, pool, pin)
    if not victim then
      return
    end
    session = displace_victim(department, pool, victim, token.no)
  end
  end_waiting(pool, token)
  seat(pool, session, token)
  say("+", token.no, token.patient, EMERGENCY, token.status, session.doctor_id, "UPGRADED")
end

-- Gives the day and number of the token issued or raised, for R2.
local function request_token(department, at)
  local day, field, class = batch[at], batch[at + 1], batch[at + 2]
  local patient, doctor_id = batch[at + 3], batch[at + 4]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  if department.doctors == 0 then
    return reject("DEPARTMENT_UNKNOWN")
  end
  local pool = pool_at(department, field, day)
  if #pool.sessions == 0 then
    return reject("SLOT_UNKNOWN")
  end
  if pool.closed == 1 then
    return reject("SLOT_CLOSED")
  end
  local pin = 0
  if doctor_id ~= "" then
    local pinned = worked_session(pool, doctor_id)
    if not pinned then
      return reject("DOCTOR_UNKNOWN")
    end
    pin = pinned.number
  end
  local held_no = pool.active[patient]
  if held_no then
    local held = find_token(department, day, held_no)
    if class ~= EMERGENCY or held.class == EMERGENCY then
      return reject("DUPLICATE_PATIENT")
    end
    -- From here it must succeed.
    upgrade(department, pool, held, pin)
    return day, held_no
  end
  local session = best_session(pool, pin)
  if not session and class ~= EMERGENCY and pool.waiting >= MOST_WAITING then
    return reject("WAITLIST_FULL")
  end
  -- From here it must succeed.
  local tokens = tokens_of(department, day)
  local no = take_no(department, day, tokens)
  local arrival = department.arrival + 1
  department.arrival = arrival
  pool.issued, pool.changed = 1, true
  hold(pool, patient, no)
  local victim = not session and class == EMERGENCY and find_victim(department, pool, pin)
  if victim then
    session = displace_victim(department, pool, victim, no)
  end
  if session then
    add_token(tokens, no, class, CONFIRMED, session.number, pin, arrival, pool.slot, patient)
    session.taken = session.taken + 1
    join_line(line_of(pool, session, "c"), exposure_of(class, 0, arrival), no)
    say("C", no, session.doctor_id)
  else
    add_token(tokens, no, class, WAITLISTED, 0, pin, arrival, pool.slot, patient)
    say("W", no, next_position(pool, class))
    join_line(waitlist_of(pool, pin), turn_of(class, arrival), no)
    count_waiting(pool, class, pin, 1)
  end
  return day, no
end
