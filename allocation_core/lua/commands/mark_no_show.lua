-- MarkNoShow (R12). The token as in includes/named_token.lua.

local function mark_no_show(department, row)
  local token = named_token(department, row)
  if not token then
    return reject("TOKEN_UNKNOWN")
  end
  if token.status ~= CONFIRMED and token.status ~= CALLED then
    return reject("INVALID_TRANSITION")
  end
  -- From here it must succeed.
  local pool = pool_of(department, token)
  local session = free_seat(pool, token)
  if session.called == token.no then
    session.called = 0
  end
  retire(pool, token, NO_SHOW)
  say_named(department, pool, token)
  promote(department, pool, "NO_SHOW")
end
