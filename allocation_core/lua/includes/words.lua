-- The contract's words as small numbers, and the orders of R6 and R8 as one number each.

local EMERGENCY, LOWEST_CLASS = 1, 5 -- 1 is the highest

local WAITLISTED, CONFIRMED, CHECKED_IN, CALLED = 1, 2, 3, 4
local COMPLETED, CANCELLED, NO_SHOW, EXPIRED = 5, 6, 7, 8

local MOST_DOCTORS = 200 -- R16
local MOST_WAITING = 1000 -- R7
local DAYS_BACK, DAYS_AHEAD, DAYS_KEPT = 1, 180, 7 -- R3

-- A double holds 53 bits exactly: 3 of class, 16 of times preempted, 34 of arrival.
local CLASS_UNIT, PREEMPTED_UNIT, MOST_PREEMPTED = 2 ^ 50, 2 ^ 34, 65535

-- R8: by class, then arrival; the lowest comes first.
local function turn_of(class, arrival)
  return class * CLASS_UNIT + arrival
end

-- R6: of the lowest class, then the fewest times preempted, then the latest arrival; the highest is the victim.
local function exposure_of(class, preempted, arrival)
  local spared = preempted < MOST_PREEMPTED and MOST_PREEMPTED - preempted or 0
  return class * CLASS_UNIT + spared * PREEMPTED_UNIT + arrival
end

local function turn(token)
  return turn_of(token.class, token.arrival)
end

local function weekday_of(day)
  return (day + 3) % 7 -- 1970-01-01 was a Thursday; Monday is 0
end

-- A number as text, for a key: to write it costs as much as thirty steps.
local texts_of_numbers = {}

local function text_of(number)
  local text = texts_of_numbers[number]
  if not text then
    text = tostring(number)
    texts_of_numbers[number] = text
  end
  return text
end
