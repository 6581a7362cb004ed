-- A redrive belongs to nobody but whoever runs the event since: what somebody else says of a run
-- before it, too late, changes nothing.

drop function key_reschedule(text, text, text, integer, bigint, bigint, bytea);
drop function key_bury(text, text, text);

create function key_reschedule(
    of_group text, of_key text, of_event text, its_attempts integer, its_not_before bigint,
    its_first_failure bigint, its_failures bytea, its_redrives integer
) returns boolean language plpgsql as $$
begin
    if not take_key(of_group, of_key) then
        return false;
    end if;
    update waiting w set attempts = its_attempts, not_before_us = its_not_before,
        first_failure_us = its_first_failure, failures = its_failures
    from head_of(of_group, of_key) as head
    where w.group_name = of_group and w.key = of_key and w.arrival = head.arrival
        and head.event_id = of_event and head.redrives <= its_redrives;
    return found;
end
$$;

create function key_bury(
    of_group text, of_key text, of_event text, its_redrives integer
) returns void language plpgsql as $$
declare
    head waiting;
begin
    if not take_key(of_group, of_key) then
        return;
    end if;
    update waiting w set is_dead = true
    from head_of(of_group, of_key) as present
    where w.group_name = of_group and w.key = of_key and w.arrival = present.arrival
        and present.event_id = of_event and present.redrives <= its_redrives
        and not present.is_dead
    returning w.* into head;
    if found then
        perform tell_waiting('bury', head);
    end if;
end
$$;

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
