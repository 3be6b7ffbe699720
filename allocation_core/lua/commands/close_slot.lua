-- CloseSlot (R19). Pool.

local function close_slot(department, row)
  local day = dates[row]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  if department.doctors == 0 then
    return reject("SLOT_UNKNOWN")
  end
  local pool = named_pool(department, row)
  if #pool.sessions == 0 then
    return reject("SLOT_UNKNOWN")
  end
  if pool.closed == 1 then
    return reject("SLOT_CLOSED")
  end
  -- From here it must succeed.
  local nos = {}
  add_all_of(waitlist_of(pool, 0), nos)
  redis.call("DEL", pool.key .. "w")
  for _, session in ipairs(pool.touched) do
    if session.pinned > 0 then
      local line = waitlist_of(pool, session.number)
      add_all_of(line, nos)
      redis.call("DEL", line.key)
      session.pinned = 0
    end
  end
  for class = EMERGENCY, LOWEST_CLASS do
    pool[class] = 0
  end
  pool.closed = 1
  pool.changed = true
  say(SAYS.CLOSED)
  local tokens = find_tokens(department, day, nos)
  table.sort(tokens, by_turn)
  for _, token in ipairs(tokens) do
    retire(pool, token, EXPIRED)
    say(SAYS.EXPIRED, token.no, token.class)
    say_words(token.patient)
  end
end
