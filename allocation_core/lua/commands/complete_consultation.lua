-- CompleteConsultation (R15): the seat stays taken. The token as in includes/named_token.lua.

local function complete_consultation(department, row)
  local token = named_token(department, row)
  if not token then
    return reject("TOKEN_UNKNOWN")
  end
  if token.status ~= CALLED then
    return reject("INVALID_TRANSITION")
  end
  -- From here it must succeed.
  local pool = pool_of(department, token)
  session_of(pool, token.doctor).called = 0
  pool.changed = true
  retire(pool, token, COMPLETED)
  say_named(department, pool, token)
end
