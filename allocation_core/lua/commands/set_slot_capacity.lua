-- SetSlotCapacity (R17). Pool; number: capacity; text: doctor id.

local function set_slot_capacity(department, row)
  local day, doctor_id, capacity = dates[row], texts[row], numbers[row]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  if not number_of(department, doctor_id) then
    return reject("DOCTOR_UNKNOWN")
  end
  local pool = named_pool(department, row)
  local session = worked_session(pool, doctor_id)
  if not session then
    return reject("SLOT_UNKNOWN")
  end
  if pool.closed == 1 then
    return reject("SLOT_CLOSED")
  end
  -- From here it must succeed.
  session.override, session.capacity = capacity, capacity
  pool.changed = true
  say(SAYS.CAPACITY, session.taken)
  promote(department, pool, "CAPACITY_RAISED")
end
