-- The outcomes of a batch: what only the store knows, in few words; the worker, who has the commands, writes the JSON.
--
-- A flat list, packed at the end. A command is: its offset, the sequence of its first event, the number of its events,
-- the events; see outcomes.py for the words of each kind of event.

local said, words = {}, 0
local speaking -- the department whose command is being decided
local counted -- where the number of the command's events stands
local unnamed -- the pool that is to be named before the next event, if any

local function begin_saying(department, offset)
  said[words + 1], said[words + 2], said[words + 3] = offset, department.sequence + 1, 0
  words = words + 3
  speaking, counted, unnamed = department, words, nil
end

-- What is said next is of this pool: for where the command itself does not name it.
local function in_pool(pool)
  unnamed = pool
end

local function say(kind, ...)
  if unnamed then
    said[words + 1], said[words + 2], said[words + 3] = "@", unnamed.day, unnamed.slot
    words = words + 3
    unnamed = nil
  end
  local more = select("#", ...)
  said[words + 1] = kind
  for i = 1, more do
    said[words + 1 + i] = select(i, ...)
  end
  words = words + 1 + more
  said[counted] = said[counted] + 1
  speaking.sequence = speaking.sequence + 1
end

local function reject(reason)
  say("!", reason)
end
