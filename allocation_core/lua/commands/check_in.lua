-- CheckIn (R13). The token as in includes/named_token.lua.

local function check_in(department, row)
  local token = named_token(department, row)
  if not token then
    return reject("TOKEN_UNKNOWN")
  end
  if token.status ~= CONFIRMED and not (token.status == WAITLISTED and token.present == 0) then
    return reject("INVALID_TRANSITION")
  end
  -- From here it must succeed.
  local pool = pool_of(department, token)
  token.present = 1
  if token.status == CONFIRMED then
    local session = session_of(pool, token.doctor)
    remove_from_session(pool, session, token)
    token.status = CHECKED_IN
    add_to_session(pool, session, token)
  end
  change(token)
  say_named(department, pool, token)
end
