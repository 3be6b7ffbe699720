-- CancelToken (R11). The token as in includes/named_token.lua.

local function cancel_token(department, row)
  local token = named_token(department, row)
  if not token then
    return reject("TOKEN_UNKNOWN")
  end
  if token.status ~= WAITLISTED and token.status ~= CONFIRMED and token.status ~= CHECKED_IN then
    return reject("INVALID_TRANSITION")
  end
  -- From here it must succeed.
  local pool = pool_of(department, token)
  local waited = token.status == WAITLISTED
  if waited then
    end_waiting(pool, token)
  else
    free_seat(pool, token)
  end
  retire(pool, token, CANCELLED)
  say_named(department, pool, token)
  if not waited then
    promote(department, pool, "CANCELLATION")
  end
end
