-- Ends many claims. KEYS: one an event. ARGV: whether fences are compared (1 or 0), the fence of
-- each event, then for each event or once for all: owner, window in milliseconds (0: the event is
-- absent again, else it is done).
-- Returns for each event whether the claim was the caller's to end, or 2: its key holds something
-- else.
local call = redis.call
local time = call('TIME')
local now = math.ceil((time[1] * 1000000 + time[2]) / 1000)
local ends = {}
local answers = {}
local first = #KEYS + 2
local step = #ARGV > first + 1 and 2 or 0
for place = 1, #KEYS do
    local fence, own = ARGV[place + 1], first + step * (place - 1)
    local owner, window = ARGV[own], ARGV[own + 1]
    local held = redis.pcall('GET', KEYS[place])
    local present = type(held) == 'string' and string.match(held, '^%d+ (.*)$')
    if type(held) == 'table' then
        answers[place] = 2
    elseif ARGV[1] == '0' or present == fence .. ' ' .. owner then
        if window ~= '0' then
            local till = ends[window]
            if not till then
                till = string.format('%.0f', now + window)
                ends[window] = till
            end
            call('SET', KEYS[place], 'done', 'PXAT', till)
        elseif present then
            call('DEL', KEYS[place])
        end
        answers[place] = 1
    else
        answers[place] = 0
    end
end
return answers
