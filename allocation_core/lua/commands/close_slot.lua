-- CloseSlot (R19). Arguments: day, pool field.

local function close_slot(department, at)
  local day, field = batch[at], batch[at + 1]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  local pool = pool_at(department, field, day)
  if #pool.sessions == 0 then
    return reject("SLOT_UNKNOWN")
  end
  if pool.closed == 1 then
    return reject("SLOT_CLOSED")
  end
  -- From here it must succeed.
  local numbers = redis.call("ZRANGE", pool.key .. "w", 0, -1)
  for _, session in ipairs(pool.touched) do
    if session.pinned > 0 then
      for _, no in ipairs(redis.call("ZRANGE", waitlist_key(pool, session.number), 0, -1)) do
        numbers[#numbers + 1] = no
      end
      redis.call("DEL", waitlist_key(pool, session.number))
      session.pinned = 0
    end
  end
  redis.call("DEL", pool.key .. "w")
  pool.waiting, pool.unpinned = 0, 0
  pool.closed = 1
  pool.changed = true
  say("Z")
  local tokens = find_tokens(department, day, numbers)
  table.sort(tokens, by_turn)
  for _, token in ipairs(tokens) do
    retire(department, pool, token, EXPIRED)
    say("E", token.no, token.patient, token.class)
  end
end
