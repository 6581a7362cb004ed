-- Keys in retry. Every function is one transaction under the lock row of its key, which exists as
-- long as the key has rows.

create function head_of(of_group text, of_key text) returns setof waiting language sql stable as $$
    select * from waiting where group_name = of_group and key = of_key order by arrival limit 1
$$;

-- Whether the event has an outcome that forbids to run it again at these redrives.
create function is_settled(of_group text, of_event text, at_redrives integer) returns boolean
language sql stable as $$
    select exists (
        select from outcomes where event_id = of_event and group_name = of_group
            and (not is_dead or redrives >= at_redrives)
    )
$$;

create function tell_waiting(op text, row_told waiting) returns void language plpgsql as $$
begin
    insert into facts (kind, subject, fields)
    values ('waiting', row_told.lab_subject, jsonb_build_array(
        op, row_told.group_name, row_told.event_id,
        coalesce((select is_dead from head_of(row_told.group_name, row_told.key)), false)));
end
$$;

create function append_waiting(
    of_group text, of_key text, of_event text, its_record bytea, its_subject text,
    its_attempts integer, its_not_before bigint, its_redrives integer, its_dead boolean,
    its_first_failure bigint, its_failures bytea
) returns void language plpgsql as $$
declare
    added waiting;
begin
    insert into waiting (group_name, key, event_id, record, lab_subject, attempts, not_before_us,
        redrives, is_dead, first_failure_us, failures)
    values (of_group, of_key, of_event, its_record, its_subject, its_attempts, its_not_before,
        its_redrives, its_dead, its_first_failure, its_failures)
    returning * into added;
    perform tell_waiting('add', added);
end
$$;

-- True: the key is locked, and by this transaction now.
create function take_key(of_group text, of_key text) returns boolean language plpgsql as $$
begin
    perform from key_locks where group_name = of_group and key = of_key for update;
    return found;
end
$$;

create function key_arrive(
    of_group text, of_key text, of_event text, its_record bytea, its_subject text,
    its_attempts integer, its_not_before bigint, its_redrives integer, its_dead boolean,
    its_first_failure bigint, its_failures bytea, out said text, out head waiting
) language plpgsql as $$
begin
    if not take_key(of_group, of_key) then
        said := 'free';
        return;
    end if;
    select * into head from head_of(of_group, of_key);
    if head.event_id = of_event then
        said := 'head';
        return;
    end if;
    head := null;
    perform from waiting where group_name = of_group and key = of_key and event_id = of_event;
    if found then
        said := 'waiting';
    elsif is_settled(of_group, of_event, its_redrives) then
        said := 'done';
    else
        perform append_waiting(of_group, of_key, of_event, its_record, its_subject, its_attempts,
            its_not_before, its_redrives, its_dead, its_first_failure, its_failures);
        said := 'appended';
    end if;
end
$$;

create function key_park(
    of_group text, of_key text, of_event text, its_record bytea, its_subject text,
    its_attempts integer, its_not_before bigint, its_redrives integer, its_dead boolean,
    its_first_failure bigint, its_failures bytea
) returns setof waiting language plpgsql as $$
begin
    loop
        insert into key_locks values (of_group, of_key) on conflict do nothing;
        -- The row that stood in the way may be gone by now, with the last event of its key.
        exit when take_key(of_group, of_key);
    end loop;
    perform from waiting where group_name = of_group and key = of_key and event_id = of_event;
    if not found then
        if is_settled(of_group, of_event, its_redrives) then
            delete from key_locks where group_name = of_group and key = of_key
                and not exists (select from waiting where group_name = of_group and key = of_key);
            return;
        end if;
        perform append_waiting(of_group, of_key, of_event, its_record, its_subject, its_attempts,
            its_not_before, its_redrives, its_dead, its_first_failure, its_failures);
    end if;
    return query select * from head_of(of_group, of_key);
end
$$;

create function key_reschedule(
    of_group text, of_key text, of_event text, its_attempts integer, its_not_before bigint,
    its_first_failure bigint, its_failures bytea
) returns boolean language plpgsql as $$
begin
    if not take_key(of_group, of_key) then
        return false;
    end if;
    update waiting w set attempts = its_attempts, not_before_us = its_not_before,
        first_failure_us = its_first_failure, failures = its_failures
    from head_of(of_group, of_key) as head
    where w.group_name = of_group and w.key = of_key and w.arrival = head.arrival
        and head.event_id = of_event;
    return found;
end
$$;

create function key_finish(of_group text, of_key text, of_event text) returns setof waiting
language plpgsql as $$
declare
    head waiting;
begin
    if not take_key(of_group, of_key) then
        return;
    end if;
    select * into head from head_of(of_group, of_key);
    if head.event_id = of_event then
        delete from waiting
        where group_name = of_group and key = of_key and arrival = head.arrival;
        perform tell_waiting('remove', head);
        delete from key_locks where group_name = of_group and key = of_key
            and not exists (select from waiting where group_name = of_group and key = of_key);
    end if;
    return query select * from head_of(of_group, of_key);
end
$$;

create function key_bury(of_group text, of_key text, of_event text) returns void
language plpgsql as $$
declare
    head waiting;
begin
    if not take_key(of_group, of_key) then
        return;
    end if;
    update waiting w set is_dead = true
    from head_of(of_group, of_key) as present
    where w.group_name = of_group and w.key = of_key and w.arrival = present.arrival
        and present.event_id = of_event and not present.is_dead
    returning w.* into head;
    if found then
        perform tell_waiting('bury', head);
    end if;
end
$$;

create function key_revive(
    of_group text, of_key text, of_event text, its_redrives integer, no_failures bytea
) returns boolean language plpgsql as $$
declare
    head waiting;
begin
    if not take_key(of_group, of_key) then
        return false;
    end if;
    update waiting w set is_dead = false, redrives = its_redrives, attempts = 0,
        not_before_us = 0, first_failure_us = 0, failures = no_failures
    from head_of(of_group, of_key) as present
    where w.group_name = of_group and w.key = of_key and w.arrival = present.arrival
        and present.event_id = of_event and present.is_dead and present.redrives < its_redrives
    returning w.* into head;
    if not found then
        return false;
    end if;
    perform tell_waiting('revive', head);
    return true;
end
$$;
