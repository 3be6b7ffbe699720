-- CallNext (R14). Pool; text: doctor id.

local function call_next(department, row)
  local day, doctor_id = dates[row], texts[row]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  local number = number_of(department, doctor_id)
  if not number then
    return reject("DOCTOR_UNKNOWN")
  end
  local pool = named_pool(department, row)
  local session = pool.by_number[number]
  local no = session and first_of(line_of(pool, session, "i"))
  if not no then
    return reject("QUEUE_EMPTY")
  end
  -- From here it must succeed.
  if session.called ~= 0 then
    local called = find_token(department, day, session.called)
    retire(pool, called, COMPLETED)
    say_named(department, pool, called)
  end
  local token = find_token(department, day, no)
  remove_from_session(pool, session, token)
  token.status = CALLED
  session.called = no
  pool.changed = true
  change(token)
  say_named(department, pool, token)
end
