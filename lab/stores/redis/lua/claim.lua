-- Claims many events under a lease. KEYS: the fence counter, then one key an event.
-- ARGV, for each event or once for all: owner, lease in microseconds.
-- Returns for each event a state (0 acquired, 1 takeover, 2 busy, 3 done, 4 the key holds something
-- else) and a number: the fence, or for how long it is busy.
-- A key holds "done", or "UNTIL FENCE OWNER". Fences are at least the time, so they grow although
-- the counter was lost; a lease is over long before its key is, so that a takeover is known as one.
local call, format = redis.call, string.format
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local fence = math.max(tonumber(call('GET', KEYS[1]) or 0), now)
local first = fence
local tills, ends = {}, {}
local answers = {}
local step = #ARGV > 2 and 2 or 0
for place = 2, #KEYS do
    local owner, lease = ARGV[step * (place - 2) + 1], ARGV[step * (place - 2) + 2]
    local till = tills[lease]
    if not till then
        till = format('%.0f', now + lease)
        tills[lease] = till
        ends[lease] = format('%.0f', math.ceil(now / 1000) + math.max(math.ceil(lease / 100), 1000))
    end
    local ours = format('%s %.0f %s', till, fence + 1, owner)
    -- Most events are new: one command for them, two for the others.
    local state, number = 0, 0
    if not call('SET', KEYS[place], ours, 'NX', 'PXAT', ends[lease]) then
        local held = redis.pcall('GET', KEYS[place])
        local is_ours = type(held) == 'string'
        local busy_till = is_ours and tonumber(string.match(held, '^%d+'))
        if not is_ours then
            state = 4
        elseif held == 'done' then
            state = 3
        elseif busy_till and busy_till > now then
            state, number = 2, busy_till - now
        else
            state = 1
            call('SET', KEYS[place], ours, 'PXAT', ends[lease])
        end
    end
    if state < 2 then
        fence = fence + 1
        number = fence
    end
    answers[2 * place - 3] = state
    answers[2 * place - 2] = number
end
if fence > first then
    call('SET', KEYS[1], format('%.0f', fence))
end
return answers
