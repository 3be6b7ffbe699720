-- SetDoctorAvailability (R18). Day; number: 1 = available or 0; text: doctor id; further: slot or "".

-- The doctor's slots that day by the schedule as it is now, in slot order.
local function slots_of_day(department, number, day)
  local slots = {}
  local weekday = weekday_of(day)
  local week = redis.call("HGET", department.prefix .. "w", number)
  for slot, worked in string.gmatch(week, "(%S+) (%d) %d+;") do
    if tonumber(worked) == weekday then
      slots[#slots + 1] = slot
    end
  end
  table.sort(slots)
  return slots
end

local function set_doctor_availability(department, row)
  local day, slot, doctor_id, away = dates[row], further_texts[row], texts[row], 1 - numbers[row]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  local number = number_of(department, doctor_id)
  if not number then
    return reject("DOCTOR_UNKNOWN")
  end
  local slots = slot ~= "" and { slot } or slots_of_day(department, number, day)
  local works, open = false, {}
  for _, each in ipairs(slots) do
    local pool = pool_at(department, each .. " " .. day, day)
    if worked_session(pool, doctor_id) then
      works = true
      if pool.closed == 0 then
        open[#open + 1] = pool
      end
    end
  end
  if not works then
    return reject("SLOT_UNKNOWN")
  end
  if #open == 0 then
    return reject("SLOT_CLOSED")
  end
  -- From here it must succeed.
  for _, pool in ipairs(open) do
    local session = session_of(pool, number)
    in_pool(pool)
    say(SAYS.AVAILABILITY)
    if session.away ~= away then
      session.away = away
      pool.changed = true
      if away == 1 then
        empty_session(department, pool, session)
      else
        promote(department, pool, "DOCTOR_AVAILABLE")
      end
    end
  end
end
