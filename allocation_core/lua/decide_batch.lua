-- Decide a batch of one partition's commands (spec §3, §4).
-- KEYS: the partition.
-- ARGV: generation, expected applied offset, group's committed offset, last offset of the batch, digest of its record,
--   the commands and their digests (see includes/batch.lua).
-- Gives the batch's outcomes as one text (see includes/said.lua), kept under its last offset too, or a refusal.

--- @include "includes/guards"
--- @include "includes/batch"
--- @include "includes/words"
--- @include "includes/said"
--- @include "includes/departments"
--- @include "includes/command_ids"
--- @include "includes/tokens"
--- @include "includes/pools"
--- @include "includes/seats"
--- @include "includes/forget"
--- @include "includes/named_token"
--- @include "commands/register_doctor"
--- @include "commands/request_token"
--- @include "commands/cancel_token"
--- @include "commands/mark_no_show"
--- @include "commands/check_in"
--- @include "commands/complete_consultation"
--- @include "commands/call_next"
--- @include "commands/set_slot_capacity"
--- @include "commands/set_doctor_availability"
--- @include "commands/close_slot"

local types = {
  RegisterDoctor = { decide = register_doctor, arguments = 2 },
  RequestToken = { decide = request_token, arguments = 5 },
  CancelToken = { decide = cancel_token, arguments = 2 },
  MarkNoShow = { decide = mark_no_show, arguments = 2 },
  CheckIn = { decide = check_in, arguments = 2 },
  CompleteConsultation = { decide = complete_consultation, arguments = 2 },
  CallNext = { decide = call_next, arguments = 3 },
  SetSlotCapacity = { decide = set_slot_capacity, arguments = 4 },
  SetDoctorAvailability = { decide = set_doctor_availability, arguments = 4 },
  CloseSlot = { decide = close_slot, arguments = 2 },
}

-- Find where each command stands, and that nothing is missing, too much, or applied already.
local function read_batch(applied, last)
  local names, commands = {}, {}
  local at, n = 2, 0
  for i = 1, batch[1] do
    names[i] = batch[at]
    local starts, ids, contents = {}, {}, {}
    local count = batch[at + 1]
    at = at + 2
    for k = 1, count do
      local offset = batch[at + 1]
      assert(offset > applied and offset <= last, "offset outside the batch")
      n = n + 1
      starts[k] = at
      ids[k], contents[k] = digests_of(n)
      at = at + OWN_ARGUMENTS + types[batch[at]].arguments
    end
    commands[i] = { starts = starts, ids = ids, contents = contents }
  end
  assert(at == #batch + 1, "arguments left over")
  return names, commands
end

local function decide_command(department, at, id, content)
  begin_saying(department, batch[at + 1])
  reach_day(department, batch[at + 2])
  local reason, token_day, token_no = repeated(department, id, content)
  if reason then
    say("?", reason, token_day or 0, token_no or "")
    return
  end
  token_day, token_no = types[batch[at]].decide(department, at + OWN_ARGUMENTS)
  remember(department, id, content, token_day, token_no)
end

-- Keep the outcomes, and drop those that are wholly below the group's committed offset. Only a batch with commands
-- drops any: so the last command's outcome stays, and is there even for an owner that finds the group's offsets lost.
local function keep_outcomes(partition, outcomes, last, committed)
  local packed = redis.call("HGET", partition, "blobs")
  local kept, dropped = {}, {}
  for _, ends in ipairs(packed and cmsgpack.unpack(packed) or {}) do
    if tonumber(ends) < committed then
      dropped[#dropped + 1] = ends
    else
      kept[#kept + 1] = ends
    end
  end
  kept[#kept + 1] = last
  if #dropped > 0 then
    redis.call("HDEL", partition .. ":o", unpack(dropped))
  end
  redis.call("HSET", partition .. ":o", last, outcomes)
  redis.call("HSET", partition, "blobs", cmsgpack.pack(kept))
end

local partition = KEYS[1]
local refused = refusal(partition, ARGV[1], ARGV[2])
if refused then
  return refused
end
local names, commands = read_batch(tonumber(ARGV[2]), tonumber(ARGV[4]))
-- From here it must succeed: what is half written when it does not is never built upon.
redis.call("HSET", partition, "half", "1")
if #names > 0 then
  local departments = load_departments(names, partition)
  for i, department in ipairs(departments) do
    found_department(department, partition)
    if not department.new then
      load_ids(department, commands[i].ids)
    end
    local own = commands[i]
    for k, at in ipairs(own.starts) do
      decide_command(department, at, own.ids[k], own.contents[k])
    end
    save_ids(department)
    save_tokens(department)
    save_pools(department)
    if department.day_before and not department.new then
      forget_ids(department, department.day_before)
      forget_later(department, partition)
    end
  end
  save_departments(departments, partition)
end
forget_some(partition)
local outcomes = cmsgpack.pack(said)
if #names > 0 then
  keep_outcomes(partition, outcomes, ARGV[4], tonumber(ARGV[3]))
end
redis.call("HSET", partition, "applied", ARGV[4], "digest", ARGV[5], "half", "0")
return outcomes
