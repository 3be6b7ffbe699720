-- RequestToken (R4-R7). Arguments: day, pool field, class, patient, pinned doctor id or "".

-- R4a: the token held is raised to an emergency; one that waited is seated if it can be.
local function upgrade(department, pool, token, pin)
  local from = token.class
  if token.status ~= WAITLISTED then
    local session = session_of(pool, token.doctor)
    token.class = EMERGENCY
    add_to_session(pool, session, token)
    change(token)
    say("U" .. Z .. token.no .. Z .. token.status .. Z .. doctor_name(department, session) .. Z .. from)
    return
  end
  end_waiting(pool, token)
  token.class, token.pin = EMERGENCY, pin
  begin_waiting(pool, token)
  say("U" .. Z .. token.no .. Z .. token.status .. Z .. "" .. Z .. from)
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
  say(
    "+" .. Z .. token.no .. Z .. token.patient .. Z .. EMERGENCY .. Z .. token.status .. Z .. session.doctor_id .. Z .. "UPGRADED"
  )
end

-- Gives the day and number of the token issued or raised, for R2.
local function request_token(department, at)
  local day, field, class = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  local patient, doctor_id = ARGV[at + 3], ARGV[at + 4]
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
  local active_no = active_token_no(pool, patient)
  if active_no then
    local active = find_token(department, day, active_no)
    if class ~= EMERGENCY or active.class == EMERGENCY then
      return reject("DUPLICATE_PATIENT")
    end
    -- From here it must succeed.
    upgrade(department, pool, active, pin)
    return day, active_no
  end
  local session = best_session(pool, pin)
  local victim = not session and class == EMERGENCY and find_victim(department, pool, pin) or nil
  if not session and not victim and class ~= EMERGENCY and pool.waiting >= MOST_WAITING then
    return reject("WAITLIST_FULL")
  end
  -- From here it must succeed.
  local no = next_token_no(department, day)
  local token = new_token(department, pool, no, class, patient, pin)
  pool.issued = 1
  set_active(pool, patient, no)
  if victim then
    session = displace_victim(department, pool, victim, no)
  end
  if session then
    seat(pool, session, token)
    say("C" .. Z .. no .. Z .. session.doctor_id)
  else
    begin_waiting(pool, token)
    say("W" .. Z .. no .. Z .. position_of(pool, token))
  end
  return day, no
end
