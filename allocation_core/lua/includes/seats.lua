-- Seats and waitlist of a pool: R5, R6, R8, R9 and the moves between them.

local function is_eligible(session)
  return session.taken < session.capacity and session.away == 0 and session.works
end

-- R5: the eligible session with the lowest taken/capacity, then the fewest taken, then the doctor registered first.
local function best_session(pool, pin, other_than)
  if pin ~= 0 then
    local session = pool.by_number[pin]
    return session and session ~= other_than and is_eligible(session) and session or nil
  end
  local sessions = pool.sessions
  local best, best_share, best_taken
  for i = 1, #sessions do
    local session = sessions[i]
    local taken, capacity = session.taken, session.capacity
    if taken < capacity and session.away == 0 and session ~= other_than then
      -- Exact: the shares of at most 500 seats are equal, or further apart than a double rounds.
      local share = taken / capacity
      if not best or share < best_share or (share == best_share and taken < best_taken) then
        best, best_share, best_taken = session, share, taken
      end
    end
  end
  return best
end

-- The line of those who have a seat in the session and were not called, and the token's place in it.
local function seated_line(pool, session, token)
  if token.status == CONFIRMED then
    return line_of(pool, session, "c"), exposure_of(token.class, token.preempted, token.arrival)
  elseif token.status == CHECKED_IN then
    return line_of(pool, session, "i"), turn(token)
  end
end

local function add_to_session(pool, session, token)
  local line, score = seated_line(pool, session, token)
  if line then
    join_line(line, score, token.no)
  end
end

local function remove_from_session(pool, session, token)
  local line = seated_line(pool, session, token)
  if line then
    take(line, token.no)
  end
end

-- The token sits down; a present one is CHECKED_IN at once (R13).
local function seat(pool, session, token)
  token.doctor = session.number
  if token.status == WAITLISTED then
    token.status = token.present == 1 and CHECKED_IN or CONFIRMED
  end
  session.taken = session.taken + 1
  add_to_session(pool, session, token)
  pool.changed = true
  change(token)
end

-- The token's seat is free again; what becomes of the token is for the caller to say.
local function free_seat(pool, token)
  local session = session_of(pool, token.doctor)
  remove_from_session(pool, session, token)
  session.taken = session.taken - 1
  pool.changed = true
  return session
end

local function waitlist_of(pool, pin)
  if pin ~= 0 then
    return line_of(pool, session_of(pool, pin), "w")
  end
  pool.waitlist = pool.waitlist or new_line(pool.key .. "w")
  return pool.waitlist
end

local function count_waiting(pool, class, pin, by)
  pool[class] = pool[class] + by
  pool.waiting = pool.waiting + by
  if pin == 0 then
    pool.unpinned = pool.unpinned + by
  else
    local session = session_of(pool, pin)
    session.pinned = session.pinned + by
  end
  pool.changed = true
end

local function begin_waiting(pool, token)
  token.status, token.doctor = WAITLISTED, 0
  join_line(waitlist_of(pool, token.pin), turn(token), token.no)
  count_waiting(pool, token.class, token.pin, 1)
  change(token)
end

-- The token waits no more; what becomes of it is for the caller to say.
local function end_waiting(pool, token)
  take(waitlist_of(pool, token.pin), token.no)
  count_waiting(pool, token.class, token.pin, -1)
end

-- R8: the place that the next arrival of a class takes: behind all of it, and of the higher ones.
local function next_position(pool, class)
  local ahead = 0
  for higher = EMERGENCY, class do
    ahead = ahead + pool[higher]
  end
  return ahead + 1
end

-- R8: the token's place among all that wait in the pool, 1 = next.
local function position_of(pool, token)
  local own_turn = turn(token)
  local ahead = 0
  if pool.unpinned > 0 then
    ahead = count_before(waitlist_of(pool, 0), own_turn)
  end
  if pool.waiting > pool.unpinned then
    for _, session in ipairs(pool.touched) do
      if session.pinned > 0 then
        ahead = ahead + count_before(waitlist_of(pool, session.number), own_turn)
      end
    end
  end
  return ahead + 1
end

local function say_reassigned(department, pool, token, from, reason, by_no)
  say(SAYS.REASSIGNED, token.no, token.class, token.status, by_no)
  say_words(token.patient, doctor_name(department, session_of(pool, token.doctor)), doctor_name(department, from), reason)
end

-- The token, which has no seat any more, waits with its own arrival.
local function preempt(department, pool, token, lost, reason, by_no)
  token.preempted = token.preempted + 1
  begin_waiting(pool, token)
  say(SAYS.PREEMPTED, token.no, token.class, position_of(pool, token), by_no)
  say_words(token.patient, doctor_name(department, lost), reason)
end

-- R6: the token whose seat an emergency may take, or nil.
local function find_victim(department, pool, pin)
  local sessions, victim_no, most = pool.sessions, nil, 0
  for i = 1, #sessions do
    local session = sessions[i]
    if session.away == 0 and session.taken > 0 and (pin == 0 or pin == session.number) then
      local no, exposed = last_of(line_of(pool, session, "c"))
      if no and exposed > most then
        victim_no, most = no, exposed
      end
    end
  end
  if victim_no and math.floor(most / CLASS_UNIT) > EMERGENCY then
    return find_token(department, pool.day, victim_no)
  end
end

-- R6: the victim leaves its seat for another doctor's or for the waitlist. Gives the session it left.
local function displace_victim(department, pool, victim, by_no)
  local lost = free_seat(pool, victim)
  local other = best_session(pool, victim.pin, lost)
  if other then
    seat(pool, other, victim)
    say_reassigned(department, pool, victim, lost, "EMERGENCY", by_no)
  else
    preempt(department, pool, victim, lost, "EMERGENCY", by_no)
  end
  return lost
end

-- R9: seats for those who wait, in order, as far as they go. Only heads of waitlists are looked at: whoever is behind
-- the head of the unpinned, or behind the head of one doctor's, wants no seat that the head does not want.
local function promote(department, pool, reason)
  if pool.closed == 1 then
    return
  end
  while pool.waiting > 0 do
    local next_no, next_pin, next_turn = nil, nil, math.huge
    local sessions, anyone = pool.sessions, false
    for i = 1, #sessions do
      local session = sessions[i]
      if session.taken < session.capacity and session.away == 0 then
        anyone = true
        if session.pinned > 0 then
          local no, its_turn = first_of(waitlist_of(pool, session.number))
          if its_turn < next_turn then
            next_no, next_turn, next_pin = no, its_turn, session.number
          end
        end
      end
    end
    if anyone and pool.unpinned > 0 then
      local no, its_turn = first_of(waitlist_of(pool, 0))
      if its_turn < next_turn then
        next_no, next_pin = no, 0
      end
    end
    if not next_no then
      return
    end
    local token = find_token(department, pool.day, next_no)
    local session = best_session(pool, next_pin)
    end_waiting(pool, token)
    seat(pool, session, token)
    say(SAYS.PROMOTED, token.no, token.class, token.status)
    say_words(token.patient, session.doctor_id, reason)
  end
end

local function by_turn(a, b)
  return turn(a) < turn(b)
end

-- R18, R16: all who have a seat in the session and were not called go elsewhere or wait, by class then arrival.
local function empty_session(department, pool, session)
  local nos = {}
  add_all_of(line_of(pool, session, "c"), nos)
  add_all_of(line_of(pool, session, "i"), nos)
  local tokens = find_tokens(department, pool.day, nos)
  table.sort(tokens, by_turn)
  for _, token in ipairs(tokens) do
    free_seat(pool, token)
    local to = best_session(pool, token.pin)
    if not to and token.class == EMERGENCY then
      local victim = find_victim(department, pool, token.pin)
      if victim then
        to = displace_victim(department, pool, victim, token.no)
      end
    end
    if to then
      seat(pool, to, token)
      say_reassigned(department, pool, token, session, "DOCTOR_UNAVAILABLE", 0)
    else
      preempt(department, pool, token, session, "DOCTOR_UNAVAILABLE", 0)
    end
  end
end
