-- Redrives and discards reach an event wherever its row stands, whether or not somebody has marked
-- it dead already: its letter is published before that, and whoever published it may have died.

create or replace function key_revive(
    of_group text, of_key text, of_event text, its_redrives integer, no_failures bytea
) returns boolean language plpgsql as $$
declare
    revived waiting;
begin
    if not take_key(of_group, of_key) then
        return false;
    end if;
    update waiting set is_dead = false, redrives = its_redrives, attempts = 0,
        not_before_us = 0, first_failure_us = 0, failures = no_failures
    where group_name = of_group and key = of_key and event_id = of_event
        and redrives < its_redrives
    returning * into revived;
    if not found then
        return false;
    end if;
    perform tell_waiting('revive', revived);
    return true;
end
$$;

create function key_discard(
    of_group text, of_key text, of_event text, its_redrives integer
) returns boolean language plpgsql as $$
declare
    discarded waiting;
begin
    if not take_key(of_group, of_key) then
        return false;
    end if;
    delete from waiting
    where group_name = of_group and key = of_key and event_id = of_event
        and redrives < its_redrives
    returning * into discarded;
    if not found then
        return false;
    end if;
    perform tell_waiting('remove', discarded);
    delete from key_locks where group_name = of_group and key = of_key
        and not exists (select from waiting where group_name = of_group and key = of_key);
    return true;
end
$$;
