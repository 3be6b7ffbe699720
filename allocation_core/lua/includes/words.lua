-- The contract's words as small numbers, and the orders of R6 and R8 as one number each.

local EMERGENCY = 1 -- the class of the highest priority; 5 is the lowest

local WAITLISTED, CONFIRMED, CHECKED_IN, CALLED = 1, 2, 3, 4
local COMPLETED, CANCELLED, NO_SHOW, EXPIRED = 5, 6, 7, 8

local MOST_DOCTORS = 200 -- R16
local MOST_WAITING = 1000 -- R7
local DAYS_BACK, DAYS_AHEAD, DAYS_KEPT = 1, 180, 7 -- R3

-- A double holds 53 bits exactly: 3 of class, 16 of times preempted, 34 of arrival.
local CLASS_UNIT, PREEMPTED_UNIT, MOST_PREEMPTED = 2 ^ 50, 2 ^ 34, 65535

-- R8: by class, then arrival; the lowest comes first.
local function turn(token)
  return token.class * CLASS_UNIT + token.arrival
end

-- R6: of the lowest class, then the fewest times preempted, then the latest arrival; the highest is the victim.
local function exposure(token)
  local spared = token.preempted < MOST_PREEMPTED and MOST_PREEMPTED - token.preempted or 0
  return token.class * CLASS_UNIT + spared * PREEMPTED_UNIT + token.arrival
end

-- A sorted set's score as text: left to Redis, the conversion costs as much as the command.
local function score(number)
  return string.format("%d", number)
end

local function weekday_of(day)
  return (day + 3) % 7 -- 1970-01-01 was a Thursday; Monday is 0
end
