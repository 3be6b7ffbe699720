-- The outcomes of a batch, one text: what only the store knows, for the worker to write the JSON from.
--
-- Fields are parted by U+0000, which no text of a command holds (R1). A command is: its offset, the sequence of
-- its first event, the number of its events, the events. See outcomes.py for the fields of each kind of event.

local Z = "\0"
local said = {}
local speaking -- the department whose command is being decided
local counted = 0
local unnamed -- the pool that is to be named before the next event, if any

local function begin_saying(department, offset)
  speaking = department
  said[#said + 1] = offset .. Z .. (department.sequence + 1)
  said[#said + 1] = 0
  counted = #said
  unnamed = nil
end

-- What is said next is of this pool: for where the command itself does not name it.
local function in_pool(pool)
  unnamed = pool
end

local function say(event)
  if unnamed then
    said[#said + 1] = "@" .. Z .. unnamed.day .. Z .. unnamed.slot
    unnamed = nil
  end
  said[#said + 1] = event
  said[counted] = said[counted] + 1
  speaking.sequence = speaking.sequence + 1
end

local function reject(reason)
  say("!" .. Z .. reason)
end
