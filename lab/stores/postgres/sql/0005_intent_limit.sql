-- The fact of an intent tells how long from then on it may be executed.

create or replace function apply_intents(
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
        jsonb_build_array(s.op, s.kind, s.n, s.key, s.amount, o.state, s.until - now_us())
    from unnest(i_unit, i_order, i_op, i_kind, i_n, i_key, i_amount, i_until)
        as s(unit, order_id, op, kind, n, key, amount, until)
    join orders o on o.id = s.order_id
    where s.unit <> all (bad);
end
$$;
