-- Claims many events under a lease. KEYS: the fence counter, then one key an event.
-- ARGV, for each event: owner, lease in microseconds.
-- Returns for each event a state (0 acquired, 1 takeover, 2 busy, 3 done) and a number: the fence,
-- or for how long it is busy.
-- A key holds "done", or "UNTIL FENCE OWNER". Fences are at least the time, so they grow although
-- the counter was lost; a lease is over long before its key is, so that a takeover is known as one.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fence = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local first = fence
local rests = {}
local answers = {}
for place = 2, #KEYS do
    local owner, lease = ARGV[2 * place - 3], ARGV[2 * place - 2]
    local rest = rests[lease]
    if not rest then
        rest = string.format('%.0f', math.max(math.ceil(lease / 100), 1000))
        rests[lease] = rest
    end
    local ours = string.format('%.0f %.0f %s', now + lease, fence + 1, owner)
    -- Most events are new: one command for them, two for the others.
    local state, number = 0, 0
    if not redis.call('SET', KEYS[place], ours, 'NX', 'PX', rest) then
        local held = redis.call('GET', KEYS[place])
        local till = tonumber(string.match(held, '^%d+'))
        if held == 'done' then
            state = 3
        elseif till and till > now then
            state, number = 2, till - now
        else
            state = 1
            redis.call('SET', KEYS[place], ours, 'PX', rest)
        end
    end
    if state < 2 then
        fence = fence + 1
        number = fence
    end
    answers[#answers + 1] = state
    answers[#answers + 1] = number
end
if fence > first then
    redis.call('SET', KEYS[1], string.format('%.0f', fence))
end
return answers
