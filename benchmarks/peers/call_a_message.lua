-- Decides one command of a department. KEYS[1]: the department's key. ARGV: offset, type, data, the committed offset.
-- Gives the sequence of the first event, then type and data of each; of a command that is applied already, once more.
local name, offset, kind, data, committed = KEYS[1], tonumber(ARGV[1]), ARGV[2], cjson.decode(ARGV[3]), tonumber(ARGV[4])
local CLASSES = {EMERGENCY = 1, PAID = 2, FOLLOW_UP = 3, ONLINE = 4, WALK_IN = 5}
local said = {}

local function at(...) return table.concat({name, ...}, '|') end

local function read_token(date, number)
    local key = at('token', date, number)
    local values = redis.call('HMGET', key, 'slot', 'arrival', 'patient_id', 'source', 'status', 'doctor_id', 'preempted')
    if not values[1] then return nil end
    return {
        key = key, date = date, number = number, slot = values[1], arrival = tonumber(values[2]), patient_id = values[3],
        source = values[4], status = values[5], doctor_id = values[6], preempted = tonumber(values[7]),
        id = table.concat({(name:gsub('/', '.')), (date:gsub('-', '')), number}, '.'),
    }
end

local function write_token(token)
    redis.call('HSET', token.key, 'slot', token.slot, 'arrival', token.arrival, 'patient_id', token.patient_id,
        'source', token.source, 'status', token.status, 'doctor_id', token.doctor_id, 'preempted', token.preempted)
end

-- Its place among those who wait (class, then arrival), and among those whose seat an emergency takes.
local function place(token) return CLASSES[token.source] * 2 ^ 40 + token.arrival end
local function rank(token) return (5 - CLASSES[token.source]) * 2 ^ 48 + token.preempted * 2 ^ 40 - token.arrival end

local function free_doctor(date, slot)
    local best, least_share, least
    for _, doctor_id in ipairs(redis.call('LRANGE', at('doctors'), 0, -1)) do
        local capacity = tonumber(redis.call('HGET', at('schedule', doctor_id), slot) or 0)
        local taken = tonumber(redis.call('HGET', at('taken', date, slot), doctor_id) or 0)
        local share = taken / capacity
        if taken < capacity and (not best or share < least_share or share == least_share and taken < least) then
            best, least_share, least = doctor_id, share, taken
        end
    end
    return best
end

local function seat(token, doctor_id)
    token.status, token.doctor_id = 'CONFIRMED', doctor_id
    redis.call('HINCRBY', at('taken', token.date, token.slot), doctor_id, 1)
    redis.call('ZADD', at('confirmed', token.date, token.slot), string.format('%.0f', rank(token)), token.number)
    write_token(token)
end

local function wait(token)
    token.status, token.doctor_id = 'WAITLISTED', ''
    local waiting = at('waiting', token.date, token.slot)
    redis.call('ZADD', waiting, string.format('%.0f', place(token)), token.number)
    write_token(token)
    return redis.call('ZRANK', waiting, token.number) + 1
end

local function leave(token)
    if token.doctor_id == '' then
        redis.call('ZREM', at('waiting', token.date, token.slot), token.number)
    else
        redis.call('ZREM', at('confirmed', token.date, token.slot), token.number)
        redis.call('HINCRBY', at('taken', token.date, token.slot), token.doctor_id, -1)
    end
end

local function tell(event_type, token, more)
    local facility_id, department_id = name:match('(.*)/(.*)')
    local doctor_id = token.doctor_id == '' and 'null' or '"' .. token.doctor_id .. '"'
    said[#said + 1] = event_type
    said[#said + 1] = string.format(
        '{"facility_id":"%s","department_id":"%s","date":"%s","slot":"%s","token_id":"%s","token_no":%s,'
            .. '"patient_id":%s,"source":"%s","status":"%s","doctor_id":%s%s}',
        facility_id, department_id, token.date, token.slot, token.id, token.number,
        cjson.encode(token.patient_id), token.source, token.status, doctor_id, more or '')
end

local function register_doctor()
    redis.call('RPUSH', at('doctors'), data.doctor_id)
    for _, each in ipairs(data.schedule) do
        redis.call('HSET', at('schedule', data.doctor_id), each.slot, each.capacity)
    end
    said = {'DoctorRegistered', ARGV[3]}
end

local function request_token()
    local number = redis.call('HINCRBY', at('numbers'), data.date, 1)
    local arrival = redis.call('INCR', at('arrivals'))
    redis.call('HSET', at('token', data.date, number), 'slot', data.slot, 'arrival', arrival, 'patient_id',
        data.patient_id, 'source', data.source, 'status', '', 'doctor_id', '', 'preempted', 0)
    local token = read_token(data.date, number)
    local doctor_id = free_doctor(data.date, data.slot)
    if not doctor_id and data.source == 'EMERGENCY' then
        local first = redis.call('ZRANGE', at('confirmed', data.date, data.slot), 0, 0)[1]
        local victim = first and read_token(data.date, first)
        if victim and victim.source ~= 'EMERGENCY' then
            doctor_id = victim.doctor_id
            leave(victim)
            victim.preempted = victim.preempted + 1
            local more = ',"position":%d,"lost_doctor_id":"%s","reason":"EMERGENCY","by_token_id":"%s"'
            tell('TokenPreempted', victim, more:format(wait(victim), doctor_id, token.id))
        end
    end
    if doctor_id then
        seat(token, doctor_id)
        tell('TokenConfirmed', token)
    else
        local position = wait(token)
        tell('TokenWaitlisted', token, ',"position":' .. position)
    end
end

local function cancel_token()
    local day, number = data.token_id:match('^[^.]+%.[^.]+%.(%d+)%.(%d+)$')
    local date = table.concat({day:sub(1, 4), day:sub(5, 6), day:sub(7, 8)}, '-')
    local token = read_token(date, number)
    if not token or token.status == 'CANCELLED' then
        local facility_id, department_id = name:match('(.*)/(.*)')
        local reason = token and 'INVALID_TRANSITION' or 'TOKEN_UNKNOWN'
        local text = '{"facility_id":"%s","department_id":"%s","command_type":"CancelToken","reason":"%s","token_id":"%s"}'
        said = {'CommandRejected', text:format(facility_id, department_id, reason, data.token_id)}
        return
    end
    leave(token)
    token.status = 'CANCELLED'
    write_token(token)
    tell('TokenCancelled', token)
    if token.doctor_id == '' then return end
    local doctor_id = free_doctor(date, token.slot)
    local first = redis.call('ZRANGE', at('waiting', date, token.slot), 0, 0)[1]
    if doctor_id and first then
        local promoted = read_token(date, first)
        leave(promoted)
        seat(promoted, doctor_id)
        tell('TokenPromoted', promoted, ',"reason":"CANCELLATION"')
    end
end

local stored = redis.call('HGET', at('said'), offset)
if stored then return cjson.decode(stored) end
for _, old in ipairs(redis.call('HKEYS', at('said'))) do
    if tonumber(old) < committed then redis.call('HDEL', at('said'), old) end
end
local decide = {
    ['opd.RegisterDoctor.v1'] = register_doctor,
    ['opd.RequestToken.v1'] = request_token,
    ['opd.CancelToken.v1'] = cancel_token,
}
decide[kind]()
local last = redis.call('INCRBY', at('sequence'), #said / 2)
table.insert(said, 1, last - #said / 2 + 1)
redis.call('HSET', at('said'), offset, cjson.encode(said))
return said
