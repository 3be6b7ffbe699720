-- The token that a command names: by day and number, its token_no, or 0 where no token could have that token_id.

local function named_token(department, row)
  local no = numbers[row]
  return no ~= 0 and find_token(department, dates[row], no)
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
  say(SAYS.NAMED, token.no, token.class, token.status)
  say_words(token.patient, doctor_id)
end
