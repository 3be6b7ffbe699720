-- SetSlotCapacity (R17). Arguments: day, pool field, doctor id, capacity.

local function set_slot_capacity(department, at)
  local day, field, doctor_id, capacity = batch[at], batch[at + 1], batch[at + 2], batch[at + 3]
  local fault = date_fault(department, day)
  if fault then
    return reject(fault)
  end
  if not number_of(department, doctor_id) then
    return reject("DOCTOR_UNKNOWN")
  end
  local pool = pool_at(department, field, day)
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
  say("S", session.taken)
  promote(department, pool, "CAPACITY_RAISED")
end
