-- Decide a batch of one partition's commands (spec §3, §4).
-- KEYS: the partition.
-- ARGV: generation, expected applied offset, group's committed offset, last offset of the batch, digest of its record,
--   the commands and their digests (see includes/batch.lua).
-- Gives the batch's outcomes as one text (see includes/said.lua), kept under its last offset too, or a refusal.

--- @include "includes/guards"
--- @include "includes/batch"
--- @include "includes/words"
--- @include "includes/said"
--- @include "includes/writes"
--- @include "includes/departments"
--- @include "includes/command_ids"
--- @include "includes/invented"
--- @include "includes/lines"
--- @include "includes/tokens"
--- @include "includes/pools"
--- @include "includes/seats"
--- @include "includes/forget"
--- @include "includes/named_token"
--- @include "includes/needed"
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

-- By type: what decides it, how many words it has in all, and what of the state it names (see includes/needed.lua).
local types = {
  RegisterDoctor = { decide = register_doctor, words = 5 },
  RequestToken = { decide = request_token, words = 8, need = need_patient },
  CancelToken = { decide = cancel_token, words = 5, need = need_token },
  MarkNoShow = { decide = mark_no_show, words = 5, need = need_token },
  CheckIn = { decide = check_in, words = 5, need = need_token },
  CompleteConsultation = { decide = complete_consultation, words = 5, need = need_token },
  CallNext = { decide = call_next, words = 6, need = need_pool },
  SetSlotCapacity = { decide = set_slot_capacity, words = 7, need = need_pool },
  SetDoctorAvailability = { decide = set_doctor_availability, words = 7 },
  CloseSlot = { decide = close_slot, words = 5, need = need_pool },
}

-- Find where each department's commands stand and what they name, and that nothing is missing, too much, or applied
-- already. A department here is its name, where its commands begin, how many, and their digests.
local function read_batch(applied, last)
  local departments = {}
  local at, n = 2, 0
  for i = 1, batch[1] do
    local department = { name = batch[at], count = batch[at + 1], first = at + 2, needed = new_needed() }
    departments[i] = department
    at = at + 2
    for _ = 1, department.count do
      local kind, offset = types[batch[at]], batch[at + 1]
      if offset <= applied or offset > last then
        error("offset outside the batch")
      end
      if kind.need then
        kind.need(department.needed, at + OWN_ARGUMENTS)
      end
      at = at + kind.words
    end
    department.digests = digests_of(n, department.count)
    n = n + department.count
  end
  assert(at == #batch + 1, "arguments left over")
  return departments
end

local function decide_command(department, at, kind, id, content)
  local counted = begin_saying(department, batch[at + 1])
  if batch[at + 2] > department.day then
    reach_day(department, batch[at + 2])
  end
  local known, reason, token_day, token_no = department.ids[id], nil, nil, nil
  if known then
    reason, token_day, token_no = repeated(department, known, content)
  end
  if reason then
    say("?", reason, token_day or 0, token_no or "")
  else
    token_day, token_no = kind.decide(department, at + OWN_ARGUMENTS)
    remember(department, id, content, token_day, token_no)
  end
  said[counted] = events
  department.sequence = department.sequence + events
end

local function decide_department(department, partition)
  local at = department.first
  for n = 2, 2 * department.count, 2 do
    local kind = types[batch[at]]
    decide_command(department, at, kind, department.digests[n - 1], department.digests[n])
    at = at + kind.words
  end
  if not department.id and #department.early > MOST_IDS and #early_ids(department) > MOST_IDS then
    settle(department, partition)
  end
  if department.id then
    save_tokens(department)
    save_pools(department)
  end
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
local departments = read_batch(tonumber(ARGV[2]), tonumber(ARGV[4]))
if #departments > 0 then
  load_departments(departments, partition)
  load_invented(departments, partition)
  for _, department in ipairs(departments) do
    load_needed(department)
  end
end
-- From here it must succeed: what is half written when it does not is never built upon.
redis.call("HSET", partition, "half", "1")
if #departments > 0 then
  for _, department in ipairs(departments) do
    decide_department(department, partition)
  end
  write_all_out()
  forget_past(departments, partition)
  save_departments(departments, partition)
  save_invented(departments, partition)
end
forget_some(partition)
local outcomes = cmsgpack.pack(said)
if #departments > 0 then
  keep_outcomes(partition, outcomes, ARGV[4], tonumber(ARGV[3]))
end
redis.call("HSET", partition, "applied", ARGV[4], "digest", ARGV[5], "half", "0")
return outcomes
