-- The outcomes of a batch: what only the store knows, in few words; the worker, who has the commands, writes the JSON.
--
-- Packed: how many departments, commands and figures (4 bytes each); for each department the sequence of its first event
-- (8) and how many commands it has (4); a column of the commands' offsets (8), one of how many events each caused (4);
-- the figures of the events, in order (8); their words, U+0000 between them. See outcomes.py for what each kind of event
-- says: its kind and so many figures, so many words.

local SAYS = {
  POOL = 0, CONFIRMED = 1, WAITLISTED = 2, PREEMPTED = 3, PROMOTED = 4, REASSIGNED = 5, UPGRADED = 6, NAMED = 7,
  EXPIRED = 8, REGISTERED = 9, CAPACITY = 10, AVAILABILITY = 11, CLOSED = 12, REJECTED = 13, REPEATED = 14,
}

local figures, figures_count = {}, 0
local words, words_count = {}, 0
local events -- of the command that is being decided
local unnamed -- the pool that is to be named before the next event, if any

-- What is said next is of this pool: for where the command itself does not name it.
local function in_pool(pool)
  unnamed = pool
end

local function say_words(a, b, c, d)
  local n = words_count + 1
  words[n] = a
  if b then
    n = n + 1
    words[n] = b
    if c then
      n = n + 1
      words[n] = c
      if d then
        n = n + 1
        words[n] = d
      end
    end
  end
  words_count = n
end

-- An event: its kind and up to four figures; its words are said behind it.
local function say(kind, a, b, c, d)
  local n = figures_count + 1
  if unnamed then
    figures[n], figures[n + 1] = SAYS.POOL, unnamed.day
    say_words(unnamed.slot)
    n, unnamed = n + 2, nil
  end
  figures[n] = kind
  if a then
    n = n + 1
    figures[n] = a
    if b then
      n = n + 1
      figures[n] = b
      if c then
        n = n + 1
        figures[n] = c
        if d then
          n = n + 1
          figures[n] = d
        end
      end
    end
  end
  figures_count, events = n, events + 1
end

local function reject(reason)
  say(SAYS.REJECTED)
  say_words(reason)
end

local function write_column(option, values, count)
  local parts = {}
  for first = 1, count, VALUES_A_CALL do
    local last = math.min(first + VALUES_A_CALL - 1, count)
    parts[#parts + 1] = struct.pack(">" .. string.rep(option, last - first + 1), unpack(values, first, last))
  end
  return table.concat(parts)
end

-- All that was said; `counts` is how many events each command caused.
local function pack_said(departments, counts)
  local heads_said = { struct.pack(">III", #departments, commands_count, figures_count) }
  for i, department in ipairs(departments) do
    heads_said[i + 1] = struct.pack(">lI", department.first_sequence, department.last - department.first + 1)
  end
  return table.concat({
    table.concat(heads_said),
    string.sub(ARGV[7], commands_count + 1, 9 * commands_count), -- the offsets
    write_column("I", counts, commands_count),
    write_column("l", figures, figures_count),
    table.concat(words, "\0"),
  })
end
