-- CallNext (R14). Arguments: day, pool field, doctor id.

local function call_next(department, at)
  local day, field, doctor_id = batch[at], batch[at + 1], batch[at + 2]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  local number = number_of(department, doctor_id)
  if not number then
    return reject("DOCTOR_UNKNOWN")
  end
  local pool = pool_at(department, field, day)
  local no = redis.call("ZRANGE", pool.key .. "i" .. number, 0, 0)[1]
  if not no then
    return reject("QUEUE_EMPTY")
  end
  -- From here it must succeed.
  local session = session_of(pool, number)
  if session.called ~= 0 then
    local called = find_token(department, day, session.called)
    retire(department, pool, called, COMPLETED)
    say_named(department, pool, called, "T")
  end
  local token = find_token(department, day, no)
  remove_from_session(pool, session, token)
  token.status = CALLED
  session.called = no
  pool.changed = true
  change(token)
  say_named(department, pool, token, "T")
end
