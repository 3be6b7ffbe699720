-- RequestToken (R4-R7). Pool; number: class; text: patient; further: pinned doctor id or "".

-- R4a: the token held is raised to an emergency; one that waited is seated if it can be.
local function upgrade(department, pool, token, pin)
  local from = token.class
  if token.status ~= WAITLISTED then
    local session = session_of(pool, token.doctor)
    token.class = EMERGENCY
    add_to_session(pool, session, token) -- where it stands already: its score alone changes
    change(token)
    say(SAYS.UPGRADED, token.no, token.status, from)
    say_words(doctor_name(department, session))
    return
  end
  end_waiting(pool, token)
  token.class, token.pin = EMERGENCY, pin
  begin_waiting(pool, token)
  say(SAYS.UPGRADED, token.no, token.status, from)
  say_words("")
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
  say(SAYS.PROMOTED, token.no, EMERGENCY, token.status)
  say_words(token.patient, session.doctor_id, "UPGRADED")
end

-- Gives the day and number of the token issued or raised, for R2.
local function request_token(department, row)
  local day, class, patient, doctor_id = dates[row], numbers[row], texts[row], further_texts[row]
  if day < department.first_date or day > department.last_date then
    return reject(date_fault(department, day))
  end
  if department.doctors == 0 then
    return reject("DEPARTMENT_UNKNOWN")
  end
  local pool = named_pool(department, row)
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
  local tokens = pool.tokens
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
    say(SAYS.CONFIRMED, no)
    say_words(session.doctor_id)
  else
    add_token(tokens, no, class, WAITLISTED, 0, pin, arrival, pool.slot, patient)
    say(SAYS.WAITLISTED, no, next_position(pool, class))
    join_line(waitlist_of(pool, pin), turn_of(class, arrival), no)
    count_waiting(pool, class, pin, 1)
  end
  return day, no
end
