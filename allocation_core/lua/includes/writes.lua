-- Writes that wait: for somebody who reads the key, or for the batch's end. Alone a write costs three times as much as
-- among others to the same key.
--
-- A key's are pairs to put (a score and a number, or a field and a value), one after the other, and what to take out.
-- All is put before anything is taken; so where something taken comes back, the key is written first.

local ARGUMENTS_A_CALL = 4000 -- Lua's stack holds 8,000

local TAKE = { HSET = "HDEL", ZADD = "ZREM" }

local waiting_writes, writes_count = {}, 0

local function new_writes(key, put)
  local writes = { key = key, put = put, count = 0, 0, 0, 0, 0 }
  writes_count = writes_count + 1
  waiting_writes[writes_count] = writes
  return writes
end

local function call_in_parts(command, key, arguments, count)
  if count <= ARGUMENTS_A_CALL then
    if count > 0 then
      call(command, key, unpack(arguments, 1, count))
    end
    return
  end
  for first = 1, count, ARGUMENTS_A_CALL do
    call(command, key, unpack(arguments, first, math.min(first + ARGUMENTS_A_CALL - 1, count)))
  end
end

local function write_out(writes)
  local count = writes.count
  if count > 0 then
    call_in_parts(writes.put, writes.key, writes, count)
    writes.count = 0
  end
  if writes.taken then
    local taken, n = {}, 0
    for member in pairs(writes.taken) do
      n = n + 1
      taken[n] = member
    end
    call_in_parts(TAKE[writes.put], writes.key, taken, n)
    writes.taken = nil
  end
end

local function write_all_out()
  for i = 1, writes_count do
    write_out(waiting_writes[i])
  end
end

local function put(writes, one, other)
  local n = writes.count + 2
  writes[n - 1], writes[n], writes.count = one, other, n
end

local function take(writes, member)
  writes.taken = writes.taken or {}
  writes.taken[member] = true
end
