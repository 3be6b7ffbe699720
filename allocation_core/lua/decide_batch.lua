-- Decide a batch of one partition's commands (spec §3, §4).
-- KEYS: the partition.
-- ARGV: generation, expected applied offset, group's committed offset, last offset of the batch, digest of its record,
--   the commands (see includes/batch.lua).
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

-- By type, numbered as the contract lists them.
local decide = {
  register_doctor, request_token, cancel_token, mark_no_show, check_in, complete_consultation, call_next,
  set_slot_capacity, set_doctor_availability, close_slot,
}

local function check_offsets(applied, last)
  for row = 1, commands_count do
    if offsets[row] <= applied or offsets[row] > last then
      error("offset outside the batch")
    end
  end
end

local events_of = {} -- by row, how many events the command caused

local function decide_department(department, partition)
  local sequence, known = department.sequence, department.ids
  department.first_sequence = sequence + 1
  set_dates(department)
  for row = department.first, department.last do
    events, unnamed = 0, nil
    if timestamp_days[row] > department.day then
      reach_day(department, timestamp_days[row])
    end
    local seen, reason, token_day, token_no = known[senders[row]], nil, nil, nil
    if seen then
      reason, token_day, token_no = repeated(department, seen, contents[row])
    end
    if reason then
      say(SAYS.REPEATED, token_day or 0, token_no or 0)
      say_words(reason)
    else
      token_day, token_no = decide[kinds[row]](department, row)
      remember(department, row, token_day, token_no)
    end
    events_of[row] = events
    sequence = sequence + events
  end
  department.sequence = sequence
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
check_offsets(tonumber(ARGV[2]), tonumber(ARGV[4]))
local departments = read_heads()
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
local outcomes = pack_said(departments, events_of)
if #departments > 0 then
  keep_outcomes(partition, outcomes, ARGV[4], tonumber(ARGV[3]))
end
redis.call("HSET", partition, "applied", ARGV[4], "digest", ARGV[5], "half", "0")
return outcomes
