-- CloseSlot (R19). Arguments: day, pool field.

local function close_slot(department, at)
  local day, field = batch[at], batch[at + 1]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  if department.doctors == 0 then
    return reject("SLOT_UNKNOWN")
  end
  local pool = pool_at(department, field, day)
  if #pool.sessions == 0 then
    return reject("SLOT_UNKNOWN")
  end
  if pool.closed == 1 then
    return reject("SLOT_CLOSED")
  end
  -- From here it must succeed.
  local numbers = {}
  add_all_of(waitlist_of(pool, 0), numbers)
  redis.call("DEL", pool.key .. "w")
  for _, session in ipairs(pool.touched) do
    if session.pinned > 0 then
      local line = waitlist_of(pool, session.number)
      add_all_of(line, numbers)
      redis.call("DEL", line.key)
      session.pinned = 0
    end
  end
  for class = EMERGENCY, LOWEST_CLASS do
    pool[class] = 0
  end
  pool.waiting, pool.unpinned = 0, 0
  pool.closed = 1
  pool.changed = true
  say("Z")
  local tokens = find_tokens(department, day, numbers)
  table.sort(tokens, by_turn)
  for _, token in ipairs(tokens) do
    retire(pool, token, EXPIRED)
    say("E", token.no, token.patient, token.class)
  end
end
