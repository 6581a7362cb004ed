-- Group commit: many units of work in one transaction, with a verdict for each.
--
-- Every part of a unit that exists is one element of a group of parallel arrays, and names the
-- number of its unit. Within a call, an order, an (event, group) and an HTTP key occur once; the
-- caller sees to that and sorts each group by its key. So rows are locked in one order in all
-- calls, table after table, and two calls cannot wait for each other.
--
-- Returned are the units that were refused. Whatever they had written is taken back before
-- anything is applied that cannot be taken back.

create function commit_units(
    -- o: orders that are looked at: which version it must have (null: any), in which states it must
    --    be (',A,B,'; '': any), and where it moves (null: nowhere)
    o_unit integer[], o_id text[], o_version integer[], o_states text[], o_to text[],
    -- c: orders that are created
    c_unit integer[], c_id text[], c_subject text[], c_customer text[], c_country text[],
    c_currency text[], c_amount bigint[], c_items text[], c_expiry bigint[], c_trace text[],
    -- h: versions that come to be, with the event that each owes
    h_unit integer[], h_order text[], h_version integer[], h_state text[], h_event text[],
    h_type text[],
    -- i: steps of intents
    i_unit integer[], i_order text[], i_op text[], i_kind text[], i_n integer[], i_key text[],
    i_amount bigint[], i_currency text[], i_until bigint[], i_states text[], i_expected bigint[],
    i_before bigint[],
    -- e: events that become outbox rows
    e_unit integer[], e_shard integer[], e_id text[], e_type text[], e_source text[],
    e_order text[], e_sequence integer[], e_time bigint[], e_data bytea[], e_correlation text[],
    e_causation text[], e_trace text[], e_expires bigint[], e_subject text[],
    -- r: outcomes
    r_unit integer[], r_event text[], r_group text[], r_dead boolean[], r_redrives integer[],
    r_subject text[],
    -- a: revenue that is added
    a_unit integer[], a_currency text[], a_amount bigint[], a_by text[], a_cause text[],
    a_subject text[],
    -- k: answers under an Idempotency-Key
    k_unit integer[], k_key text[], k_sha text[], k_status integer[], k_answer bytea[],
    k_subject text[],
    -- shards of e, for those who listen
    shards text
) returns table (refused integer, verdict text) language plpgsql as $$
declare
    bad integer[] := '{}';
    created text[] := '{}';
    keyed text[] := '{}';
    settled text[] := '{}';
begin
    -- 1. Who may not go on. Nothing but locks and rows that can be taken back.
    if cardinality(o_unit) > 0 then
        select coalesce(array_agg(w.unit), '{}') into bad
        from unnest(o_unit, o_id, o_version, o_states) as w(unit, id, version, states)
        left join lateral (
            select o.version, o.state from orders o where o.id = w.id for update
        ) as present on true
        where present.state is null
            or present.version <> w.version
            or (w.states <> '' and position(',' || present.state || ',' in w.states) = 0);
    end if;

    if cardinality(i_unit) > 0 then
        bad := bad || array(
            select distinct s.unit
            from unnest(i_unit, i_order, i_op, i_kind, i_n, i_states, i_expected, i_before)
                as s(unit, order_id, op, kind, n, states, expected, before)
            left join lateral (
                select o.state from orders o where o.id = s.order_id
            ) as present on true
            left join lateral (
                select i.is_open, i.send_until_us from intents i
                where i.order_id = s.order_id and i.kind = s.kind and i.n = s.n
            ) as known on true
            where s.unit <> all (bad) and (case s.op
                when 'open' then known.is_open is null
                    and position(',' || present.state || ',' in s.states) > 0
                    and (s.before = 0 or now_us() < s.before)
                when 'raise' then known.is_open and known.send_until_us = s.expected
                    and position(',' || present.state || ',' in s.states) > 0
                    and (s.before = 0 or now_us() < s.before)
                else known.is_open and (s.expected = 0 or known.send_until_us = s.expected)
            end) is not true
        );
    end if;

    if cardinality(c_unit) > 0 then
        with made as (
            insert into orders (id, lab_subject, state, version, customer_id, country, currency,
                amount_cents, items, created_us, expires_us, due_us, traceparent)
            select c.id, c.subject, 'PENDING', 1, c.customer, c.country, c.currency, c.amount,
                c.items::jsonb, t.now, t.now + c.expiry, t.now + c.expiry, c.trace
            from unnest(c_id, c_subject, c_customer, c_country, c_currency, c_amount, c_items,
                    c_expiry, c_trace)
                as c(id, subject, customer, country, currency, amount, items, expiry, trace),
                (select now_us() as now) as t
            on conflict (id) do nothing
            returning id
        )
        select coalesce(array_agg(id), '{}') into created from made;
        if cardinality(created) < cardinality(c_unit) then
            bad := bad || array(
                select c.unit from unnest(c_unit, c_id) as c(unit, id) where c.id <> all (created)
            );
        end if;
    end if;

    if cardinality(k_unit) > 0 then
        with made as (
            insert into http_keys (key, body_sha256, status, answer)
            select k.key, k.sha, k.status, k.answer
            from unnest(k_unit, k_key, k_sha, k_status, k_answer)
                as k(unit, key, sha, status, answer)
            where k.unit <> all (bad)
            on conflict (key) do nothing
            returning key
        )
        select coalesce(array_agg(key), '{}') into keyed from made;
        if cardinality(keyed) < cardinality(k_unit) then
            bad := bad || array(
                select k.unit from unnest(k_unit, k_key) as k(unit, key)
                where k.key <> all (keyed) and k.unit <> all (bad)
            );
        end if;
    end if;

    -- The authority, and the last word: what is refused here has nothing behind it to take back.
    if cardinality(r_unit) > 0 then
        with made as (
            insert into outcomes as o (event_id, group_name, is_dead, redrives)
            select r.event, r.group_name, r.dead, r.redrives
            from unnest(r_unit, r_event, r_group, r_dead, r_redrives)
                as r(unit, event, group_name, dead, redrives)
            where r.unit <> all (bad)
            on conflict (event_id, group_name) do update
                set is_dead = excluded.is_dead, redrives = excluded.redrives,
                    at_us = excluded.at_us
                where o.is_dead and o.redrives < excluded.redrives
            returning o.event_id || ' ' || o.group_name as name
        )
        select coalesce(array_agg(name), '{}') into settled from made;
        if cardinality(settled) < cardinality(r_unit) then
            bad := bad || array(
                select r.unit from unnest(r_unit, r_event, r_group) as r(unit, event, group_name)
                where r.event || ' ' || r.group_name <> all (settled) and r.unit <> all (bad)
            );
        end if;
    end if;

    if bad <> '{}' then
        delete from orders o
        using unnest(c_unit, c_id) as c(unit, id)
        where o.id = c.id and c.unit = any (bad) and c.id = any (created);
        delete from http_keys h
        using unnest(k_unit, k_key) as k(unit, key)
        where h.key = k.key and k.unit = any (bad) and k.key = any (keyed);
        return query
        select b.unit, coalesce(
            (
                select case when o.is_dead then 'dead' else 'done' end
                from unnest(r_unit, r_event, r_group, r_redrives) as r(unit, event, grp, redrives)
                join outcomes o on o.event_id = r.event and o.group_name = r.grp
                where r.unit = b.unit and (not o.is_dead or o.redrives >= r.redrives)
            ),
            (
                select 'key_taken' from unnest(k_unit, k_key) as k(unit, key)
                join http_keys h on h.key = k.key where k.unit = b.unit
            ),
            'conflict'
        )
        from unnest(bad) as b(unit);
    end if;

    -- 2. Everybody else is applied, and nothing is refused any more.
    perform apply_intents(bad, i_unit, i_order, i_op, i_kind, i_n, i_key, i_amount, i_currency,
        i_until) where cardinality(i_unit) > 0;

    if cardinality(h_unit) > 0 then
        update orders o set state = w.moved_to, version = o.version + 1,
            due_us = case when w.moved_to in ('PENDING', 'VALIDATED') then o.due_us end,
            was_cancelled = o.was_cancelled or w.moved_to = 'CANCELLED'
        from unnest(o_unit, o_id, o_to) as w(unit, id, moved_to)
        where o.id = w.id and w.moved_to is not null and w.unit <> all (bad);

        insert into order_versions (order_id, version, state, event_id, event_type)
        select h.order_id, h.version, h.state, h.event, h.type
        from unnest(h_unit, h_order, h_version, h_state, h_event, h_type)
            as h(unit, order_id, version, state, event, type)
        where h.unit <> all (bad);
    end if;

    if cardinality(e_unit) > 0 then
        insert into outbox (shard, id, type, source, order_id, sequence, time_us, data,
            correlation_id, causation_id, traceparent, expires_us, lab_subject)
        select e.shard, e.id, e.type, e.source, e.order_id, e.sequence, e.time_us, e.data,
            e.correlation, e.causation, e.trace, e.expires, e.subject
        from unnest(e_unit, e_shard, e_id, e_type, e_source, e_order, e_sequence, e_time, e_data,
                e_correlation, e_causation, e_trace, e_expires, e_subject)
            as e(unit, shard, id, type, source, order_id, sequence, time_us, data, correlation,
                causation, trace, expires, subject)
        where e.unit <> all (bad);
        -- A hint: whoever listens later, or not at all, finds the rows by looking.
        perform pg_notify(current_schema() || '.outbox', shards);
    end if;

    perform apply_outcomes(bad, r_unit, r_event, r_group, r_dead, r_redrives, r_subject)
        where cardinality(r_unit) > 0;
    perform apply_revenue(bad, a_unit, a_currency, a_amount, a_by, a_cause, a_subject)
        where cardinality(a_unit) > 0;

    if cardinality(k_unit) > 0 then
        insert into facts (kind, subject, fields)
        select 'http_key', k.subject, jsonb_build_array(k.key, k.sha, k.status)
        from unnest(k_unit, k_key, k_sha, k_status, k_subject)
            as k(unit, key, sha, status, subject)
        where k.unit <> all (bad);
    end if;
end
$$;

create function apply_intents(
    bad integer[], i_unit integer[], i_order text[], i_op text[], i_kind text[], i_n integer[],
    i_key text[], i_amount bigint[], i_currency text[], i_until bigint[]
) returns void language plpgsql as $$
begin
    insert into intents (order_id, kind, n, key, amount_cents, currency, send_until_us, is_open)
    select s.order_id, s.kind, s.n, s.key, s.amount, s.currency, s.until, true
    from unnest(i_unit, i_order, i_op, i_kind, i_n, i_key, i_amount, i_currency, i_until)
        as s(unit, order_id, op, kind, n, key, amount, currency, until)
    where s.op = 'open' and s.unit <> all (bad);

    -- Never earlier: a send may be on its way under the present one.
    update intents i set
        send_until_us = case s.op when 'raise' then greatest(i.send_until_us, s.until)
            else i.send_until_us end,
        is_open = s.op = 'raise'
    from unnest(i_unit, i_order, i_op, i_kind, i_n, i_until)
        as s(unit, order_id, op, kind, n, until)
    where i.order_id = s.order_id and i.kind = s.kind and i.n = s.n
        and s.op in ('raise', 'close') and s.unit <> all (bad);

    insert into facts (kind, subject, fields)
    select 'intent', o.lab_subject,
        jsonb_build_array(s.op, s.kind, s.n, s.key, s.amount, o.state)
    from unnest(i_unit, i_order, i_op, i_kind, i_n, i_key, i_amount)
        as s(unit, order_id, op, kind, n, key, amount)
    join orders o on o.id = s.order_id
    where s.unit <> all (bad);
end
$$;

create function apply_outcomes(
    bad integer[], r_unit integer[], r_event text[], r_group text[], r_dead boolean[],
    r_redrives integer[], r_subject text[]
) returns void language plpgsql as $$
begin
    delete from starts s
    using unnest(r_unit, r_event, r_group, r_redrives) as r(unit, event, group_name, redrives)
    where s.event_id = r.event and s.group_name = r.group_name and s.redrives = r.redrives
        and r.unit <> all (bad);

    insert into facts (kind, subject, fields)
    select 'outcome', r.subject, jsonb_build_array(
        r.group_name, r.event, case when r.dead then 'dead' else 'done' end, r.redrives)
    from unnest(r_unit, r_event, r_group, r_dead, r_redrives, r_subject)
        as r(unit, event, group_name, dead, redrives, subject)
    where r.unit <> all (bad);
end
$$;

create function apply_revenue(
    bad integer[], a_unit integer[], a_currency text[], a_amount bigint[], a_by text[],
    a_cause text[], a_subject text[]
) returns void language plpgsql as $$
begin
    insert into revenue as known (currency, amount_cents)
    select a.currency, sum(a.amount)
    from unnest(a_unit, a_currency, a_amount) as a(unit, currency, amount)
    where a.unit <> all (bad)
    group by a.currency
    order by a.currency
    on conflict (currency) do update
        set amount_cents = known.amount_cents + excluded.amount_cents;

    insert into facts (kind, subject, fields)
    select 'revenue', a.subject, jsonb_build_array(a.by, a.cause, a.currency, a.amount)
    from unnest(a_unit, a_currency, a_amount, a_by, a_cause, a_subject)
        as a(unit, currency, amount, by, cause, subject)
    where a.unit <> all (bad);
end
$$;
