-- The commands of the batch: department by department, and of each in log order. A command is a row, and each column is
-- one list, so that one call of C reads it whole: word by word costs five times as much.
--
-- ARGV[6], packed, flat: how many commands, departments, named tokens and patients; then for each department its key, how
--   many commands, pools and dates of named tokens it has, for each of its pools the field, the day and how many patients
--   are to be looked up there, and for each of the dates the day and how many tokens are to be looked up
-- ARGV[7], columns of numbers: type (1 byte), offset (8), day of the timestamp (4), day of the date named (4), which of
--   its department's pools is named, or 0 (2), number (8); then the token_nos to be looked up (8)
-- ARGV[8], columns of texts, U+0000 behind each: text, further text; then the patients to be looked up
-- ARGV[9], columns of digests, 16 bytes each: of sender and id; of type and data
--
-- What day, number and texts are, each command says. Columns are called by what a row has there.

local call, pack = redis.call, struct.pack -- a local is found at a fifth of what a field of a global costs
local VALUES_A_CALL = 2000 -- Lua's stack holds 8,000
local DIGEST_BYTES = 16

-- A column's values, and where the next column begins.
local function read_column(option, packed, at, count)
  if count <= VALUES_A_CALL then
    local values = { struct.unpack(">" .. string.rep(option, count), packed, at) }
    return values, values[count + 1]
  end
  local values, one = {}, ">" .. option
  for i = 1, count do
    values[i], at = struct.unpack(one, packed, at)
  end
  return values, at
end

local heads = cmsgpack.unpack(ARGV[6])
local commands_count = heads[1]
local kinds, offsets, timestamp_days, dates, pool_places, numbers, tokens_asked
local texts, further_texts, patients_asked
local senders, contents

do
  local at = 1
  kinds, at = read_column("B", ARGV[7], at, commands_count)
  offsets, at = read_column("l", ARGV[7], at, commands_count)
  timestamp_days, at = read_column("i", ARGV[7], at, commands_count)
  dates, at = read_column("i", ARGV[7], at, commands_count)
  pool_places, at = read_column("H", ARGV[7], at, commands_count)
  numbers, at = read_column("l", ARGV[7], at, commands_count)
  tokens_asked, at = read_column("l", ARGV[7], at, heads[3])
  assert(at == #ARGV[7] + 1, "numbers left over")
  texts, at = read_column("s", ARGV[8], 1, commands_count)
  further_texts, at = read_column("s", ARGV[8], at, commands_count)
  patients_asked, at = read_column("s", ARGV[8], at, heads[4])
  assert(at == #ARGV[8] + 1, "texts left over")
  senders, at = read_column("c16", ARGV[9], 1, commands_count)
  contents, at = read_column("c16", ARGV[9], at, commands_count)
  assert(at == #ARGV[9] + 1, "digests left over")
end
