-- Lines: sorted sets of token numbers, each a key's waiting writes (see writes.lua).

local function new_line(key)
  return new_writes(key, "ZADD")
end

local function join_line(line, score, no)
  if line.taken and line.taken[no] then
    write_out(line)
  end
  local n = line.count + 2
  line[n - 1], line[n], line.count = score, no, n
end

-- The first of a line: its token_no and score, or nil.
local function first_of(line)
  write_out(line)
  local head = redis.call("ZRANGE", line.key, 0, 0, "WITHSCORES")
  return tonumber(head[1]), tonumber(head[2])
end

local function last_of(line)
  write_out(line)
  local head = redis.call("ZREVRANGE", line.key, 0, 0, "WITHSCORES")
  return tonumber(head[1]), tonumber(head[2])
end

-- Put the numbers of all in a line, in its order, behind those that are there.
local function add_all_of(line, nos)
  write_out(line)
  for _, no in ipairs(redis.call("ZRANGE", line.key, 0, -1)) do
    nos[#nos + 1] = tonumber(no)
  end
end

local function count_before(line, score)
  write_out(line)
  return redis.call("ZCOUNT", line.key, "-inf", "(" .. string.format("%d", score))
end
