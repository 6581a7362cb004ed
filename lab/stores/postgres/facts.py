"""The facts of a run that is over, read back from PostgreSQL.

The store writes down each change, which its tables would forget, in the same transaction; here they
are read back in the order in which they were applied. Not here: judging it (`lab.checks`).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from lab.history.contents import buyer_of
from lab.history.entries import Entry

_WITNESS: Final = "store"

_FACTS: Final = """
select f.number, f.at_us, f.kind, f.subject, f.fields::text
from (
    select v.number, v.at_us, 'row' as kind, o.lab_subject as subject, jsonb_build_array(
        v.version, v.state, v.event_id, v.event_type, o.currency, o.amount_cents,
        case when v.state in ('REJECTED', 'DECLINED') then coalesce((
            select substring(encode(b.data, 'escape') from '"reason":"([^"]*)"') from outbox b
            where b.order_id = v.order_id and b.id = v.event_id), '') else '' end,
        o.customer_id, o.country) as fields
    from order_versions v join orders o on o.id = v.order_id
    union all
    select number, at_us, kind, subject, fields from facts
    union all
    select 0, coalesce((select min(at_us) from order_versions), now_us()), 'blocked', '',
        jsonb_build_array(customer_id) from blocked_customers
) as f
order by f.number
"""

# Rows and locks behind a dead head are left out: only a redrive or a discard moves them.
_LEFT: Final = """
with heads as (
    select distinct on (group_name, key) group_name, key, is_dead from waiting
    order by group_name, key, arrival
)
select 'outbox' as what, count(*) from outbox where published_us is null
union all
select 'waiting', count(*) from waiting w join heads h using (group_name, key) where not h.is_dead
union all
select 'lock', count(*) from key_locks l left join heads h using (group_name, key)
    where h.is_dead is not true
union all
select 'transaction', count(*) from pg_stat_activity
    where starts_with(application_name || ' ', 'pulse-lab ' || current_schema() || ' ')
        and datname = current_database()
        and state like 'idle in transaction%' and backend_type = 'client backend'
"""

_BACKLOG: Final = """
select count(*), coalesce(now_us() - min(time_us), 0) from outbox where published_us is null
"""

# The tables as they are: what was written down of a change is no proof of it.
_TRUTH: Final = """
select now_us(), 'order_truth', o.lab_subject, o.state, o.version, o.amount_cents, o.currency,
    (select count(*) from intents i where i.order_id = o.id and i.is_open), o.due_us is not null
from orders o where o.lab_subject <> ''
"""
_REVENUE_TRUTH: Final = """
select now_us(), 'revenue_truth', '', currency, amount_cents from revenue order by currency
"""

_rows_of: Final = msgspec.json.Decoder(list[Any]).decode


async def gather_facts(connection: Any, *, epoch_us: int = 0) -> AsyncIterator[Entry]:
    """Facts of the kinds row, outcome, intent, revenue, http_key, waiting and blocked.

    Args:
        connection: one of `postgres_link.connect(server, plain=...)`.
        epoch_us: database time at which the history's clock showed 0.
    """
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(_FACTS, prefetch=2_000):
            fields = _rows_of(row[4])
            if row[2] == "row":
                *fields, reason, customer_id, country = fields
                fields += (buyer_of(customer_id, country), reason)
            yield (row[2], row[1] - epoch_us, _WITNESS, row[3], *fields)


async def gather_truth(connection: Any, *, epoch_us: int = 0) -> AsyncIterator[Entry]:
    """The orders and the revenue as they stand: `order_truth` and `revenue_truth`.

    Args: as of `gather_facts`.
    """
    for sql in (_TRUTH, _REVENUE_TRUTH):
        async with connection.transaction(readonly=True):
            async for t_us, kind, *fields in connection.cursor(sql, prefetch=2_000):
                yield (kind, t_us - epoch_us, _WITNESS, *fields)


async def gather_all(connection: Any, *, epoch_us: int = 0) -> AsyncIterator[Entry]:
    """Both. One look: whoever still writes meanwhile is in both of them, or in none.

    Args: as of `gather_facts`.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for gather in (gather_facts, gather_truth):
            async for entry in gather(connection, epoch_us=epoch_us):
                yield entry


async def count_left(connection: Any) -> Mapping[str, int]:
    """The numbers still owed or held: `outbox`, `waiting`, `lock`, `transaction`."""
    return {row[0]: row[1] for row in await connection.fetch(_LEFT)}


async def is_expiry_due(connection: Any) -> bool:
    """Whether an order stands open beyond its expiry."""
    return bool(
        await connection.fetchval("select exists(select 1 from orders where due_us <= now_us())")
    )


async def orders_by_state(connection: Any) -> Mapping[str, int]:
    """How many orders are in each state, by its name."""
    rows = await connection.fetch(
        "select state, count(*) from orders group by state order by state"
    )
    return {row[0]: row[1] for row in rows}


async def revenue(connection: Any) -> Mapping[str, int]:
    """Revenue in minor units, by currency."""
    rows = await connection.fetch("select currency, amount_cents from revenue order by currency")
    return {row[0]: row[1] for row in rows}


async def count_open_intents(connection: Any) -> int:
    """Intents that are open."""
    return int(await connection.fetchval("select count(*) from intents where is_open"))


async def stored_subjects(connection: Any) -> AsyncIterator[str]:
    """`ordinal.send` of every order that is stored."""
    async with connection.transaction(readonly=True):
        async for row in connection.cursor("select lab_subject from orders", prefetch=2_000):
            yield row[0]


async def outbox_backlog(connection: Any) -> tuple[int, int]:
    """How many events are not published, and how old the oldest is by the server's clock, in us."""
    count, age_us = await connection.fetchrow(_BACKLOG)
    return count, max(age_us, 0)
