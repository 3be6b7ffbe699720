-- The outcomes of a batch: what only the store knows, in few words; the worker, who has the commands, writes the JSON.
--
-- A flat list, packed at the end. A command is: its offset, the sequence of its first event, the number of its events,
-- the events; see outcomes.py for the words of each kind of event.

local said, words = {}, 0
local events = 0 -- of the command that is being decided
local unnamed -- the pool that is to be named before the next event, if any

-- Say what follows of a command; gives where the number of its events is to stand, when they are said.
local function begin_saying(department, offset)
  local n = words + 3
  said[n - 2], said[n - 1], said[n] = offset, department.sequence + 1, 0
  words, events, unnamed = n, 0, nil
  return n
end

-- What is said next is of this pool: for where the command itself does not name it.
local function in_pool(pool)
  unnamed = pool
end

-- An event: its kind and up to eight words, none of them nil before the last. Written out: a vararg costs more than all else.
local function say(kind, a, b, c, d, e, f, g, h)
  local n = words + 1
  if unnamed then
    said[n], said[n + 1], said[n + 2] = "@", unnamed.day, unnamed.slot
    n = n + 3
    unnamed = nil
  end
  said[n] = kind
  if a ~= nil then
    n = n + 1
    said[n] = a
  end
  if b ~= nil then
    n = n + 1
    said[n] = b
  end
  if c ~= nil then
    n = n + 1
    said[n] = c
    if d ~= nil then
      n = n + 1
      said[n] = d
    end
    if e ~= nil then
      n = n + 1
      said[n] = e
    end
    if f ~= nil then
      n = n + 1
      said[n] = f
    end
    if g ~= nil then
      n = n + 1
      said[n] = g
    end
    if h ~= nil then
      n = n + 1
      said[n] = h
    end
  end
  words, events = n, events + 1
end

local function reject(reason)
  say("!", reason)
end
