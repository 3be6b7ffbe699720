-- The token that a command names. Arguments: its day and token_no, or -1 and "" where no token could have that token_id.

local function named_token(department, at)
  local no = tonumber(batch[at + 1])
  return no and find_token(department, batch[at], no)
end

-- Cancelled, completed and the like: the token is active no more, and its patient may come again (R4).
local function retire(pool, token, status)
  token.status = status
  release(pool, token.patient)
  change(token)
end

-- What is said of a token that the command named: pool, patient, class, status, doctor or "".
local function say_named(department, pool, token)
  in_pool(pool)
  local doctor_id = ""
  if token.doctor ~= 0 then
    doctor_id = doctor_name(department, session_of(pool, token.doctor))
  end
  say("T", token.no, token.patient, token.class, token.status, doctor_id)
end
