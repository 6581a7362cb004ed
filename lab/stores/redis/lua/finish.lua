-- Ends many claims. KEYS: one an event. ARGV: whether fences are compared (1 or 0), then for each
-- event: owner, fence, window in milliseconds (0: the event is absent again, else it is done).
-- Returns for each event whether the claim was the caller's to end.
local answers = {}
for place = 1, #KEYS do
    local owner, fence, window = ARGV[3 * place - 1], ARGV[3 * place], ARGV[3 * place + 1]
    local held = redis.call('GET', KEYS[place])
    local present = held and string.match(held, '^%d+ (.*)$')
    if ARGV[1] == '0' or present == fence .. ' ' .. owner then
        if window ~= '0' then
            redis.call('SET', KEYS[place], 'done', 'PX', window)
        elseif present then
            redis.call('DEL', KEYS[place])
        end
        answers[place] = 1
    else
        answers[place] = 0
    end
end
return answers
