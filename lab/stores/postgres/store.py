"""The order store on PostgreSQL: units of concurrent callers are committed together.

All units that arrive while the last commit runs go into the next one, a statement for many units
and a verdict for each (`sql/0002_commit.sql`). Looks are put together in the same way. A batch that
fails as a whole is repeated unit by unit before anybody gets an answer. Not here: schema and
migrations (`schema.py`), the outbox and the keys in retry.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NewType

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.domain.order import Intent, IntentKind, Order, OrderId, OrderState
from lab.ports.store import (
    CustomerStore,
    HttpKeyRow,
    Loaded,
    OrderStore,
    Outcome,
    StartStore,
    Unit,
    UnitVerdict,
)
from lab.stores.group_commit import Batcher
from lab.stores.postgres.errors import DEPENDENCY
from lab.stores.postgres.key_retry import PostgresKeyRetry
from lab.stores.postgres.link import Links, PostgresServer, Row
from lab.stores.postgres.outbox import PostgresOutbox
from lab.stores.postgres.units import (
    COMMIT,
    claims,
    storable,
    to_arguments,
    to_verdicts,
)
from lab.stores.reachability import Tell, tell_nobody
from lab.stores.unit_rules import check_unit

UNITS_MAX: Final = 500
LOOKS_MAX: Final = 500
COMMITS_AT_ONCE: Final = 2
_EVER_US: Final = 2**63 - 1
_LINKS: Final = COMMITS_AT_ONCE + 5

_Found = tuple[Outcome, int]
_EventKey = tuple[str, str]
_Customer = NewType("_Customer", str)

_ORDER: Final = (
    "o.id, o.lab_subject, o.state, o.version, o.customer_id, o.country, o.currency, "
    "o.amount_cents, o.created_us, o.expires_us, o.traceparent, o.was_cancelled"
)
_LOAD: Final = (
    f"select {_ORDER}, t.now_us, i.kind, i.n, i.key, i.amount_cents, i.currency, "  # noqa: S608 - of constants only
    "i.send_until_us, i.is_open from (select now_us() as now_us) as t, "
    "unnest($1::text[]) as w(id) join orders o on o.id = w.id "
    "left join intents i on i.order_id = o.id order by o.id, i.number"
)
_OUTCOMES: Final = (
    "select o.group_name, o.event_id, o.is_dead, o.redrives "
    "from unnest($1::text[], $2::text[]) as w(group_name, event_id) "
    "join outcomes o on o.event_id = w.event_id and o.group_name = w.group_name"
)
_HTTP_KEY: Final = "select key, body_sha256, status, answer from http_keys where key = $1"
_DUE: Final = (
    f"select {_ORDER} from orders o "  # noqa: S608 - of constants only
    "where o.due_us <= now_us() order by o.due_us, o.id limit $1"
)
_OF_CUSTOMER: Final = (
    f"select {_ORDER} from orders o "  # noqa: S608 - of constants only
    "where o.customer_id = $1 and (o.created_us, o.id) < ($2, $3) "
    "order by o.created_us desc, o.id desc limit $4"
)
_NEXT_DUE: Final = (
    "select (select min(due_us) from orders where due_us is not null) - now_us() as rest_us"
)
_BEGIN_START: Final = (
    "insert into starts as s (event_id, group_name, redrives, unexplained) values ($1, $2, $3, 1) "
    "on conflict (event_id, group_name, redrives) do update set unexplained = s.unexplained + 1 "
    "returning unexplained - 1 as unexplained"
)
_EXPLAIN_START: Final = (
    "with last as (delete from starts where event_id = $1 and group_name = $2 and redrives = $3 "
    "and unexplained <= 1) update starts set unexplained = unexplained - 1 "
    "where event_id = $1 and group_name = $2 and redrives = $3 and unexplained > 1"
)
_BLOCKED: Final = (
    "select b.customer_id from unnest($1::text[]) as w(id) "
    "join blocked_customers b on b.customer_id = w.id"
)


class PostgresOrderStore(OrderStore, StartStore, CustomerStore):
    """One process's way to the orders.

    Every call ends: a statement has the server's deadline, and a caller behind it waits
    for two at most.

    Args:
        links: connections that all calls share.
        shards: shards of the outbox, as the schema has them.
        poll_us: how late an expiry may be noticed.
    """

    def __init__(self, links: Links, *, shards: int, poll_us: int) -> None:
        self._links = links
        self._shards = shards
        self._poll_us = poll_us
        self._units: Batcher[Unit, UnitVerdict] = Batcher(
            self._commit_all, size=UNITS_MAX, lanes=COMMITS_AT_ONCE, rivals=claims
        )
        self._loads: Batcher[str, Loaded | None] = Batcher(self._load_all, size=LOOKS_MAX)
        self._looks: Batcher[_EventKey, _Found | None] = Batcher(self._look_all, size=LOOKS_MAX)
        self._customers: Batcher[_Customer, bool] = Batcher(self._are_blocked, size=LOOKS_MAX)

    # ---- units of work

    async def commit(self, unit: Unit) -> UnitVerdict:
        check_unit(unit)
        return await self._units.put(unit)

    async def _commit_all(self, units: Sequence[Unit]) -> Sequence[UnitVerdict | LabError]:
        try:
            return await self._commit_together(units)
        except (Down, Indeterminate):
            raise
        except LabError:
            if len(units) == 1:
                raise
        # Nothing was applied, and nobody but one of them need be to blame.
        answers: list[UnitVerdict | LabError] = []
        for unit in units:
            try:
                answers += await self._commit_together((unit,))
            except Down as down:
                # The rest need not find out one after the other.
                return [*answers, *[down] * (len(units) - len(answers))]
            except LabError as error:
                answers.append(error)
        return answers

    async def _commit_together(self, units: Sequence[Unit]) -> list[UnitVerdict]:
        arguments = to_arguments(units, self._shards)
        return to_verdicts(len(units), await self._links.change(COMMIT, *arguments))

    # ---- looks

    async def load(self, order_id: str) -> Loaded | None:
        return await self._loads.put(storable(order_id))

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:
        return await self._looks.put((group, storable(event_id)))

    async def http_key(self, key: str) -> HttpKeyRow | None:
        rows = await self._links.read(_HTTP_KEY, storable(key))
        return HttpKeyRow(**rows[0]) if rows else None

    async def _load_all(self, ids: Sequence[str]) -> list[Loaded | None]:
        rows = await self._links.read(_LOAD, list(dict.fromkeys(ids)))
        found: dict[str, list[Row]] = {}
        for row in rows:
            found.setdefault(row[0], []).append(row)
        loaded = {order_id: _to_loaded(its) for order_id, its in found.items()}
        return [loaded.get(order_id) for order_id in ids]

    async def _look_all(self, keys: Sequence[_EventKey]) -> list[_Found | None]:
        asked = list(dict.fromkeys(keys))
        rows = await self._links.read(
            _OUTCOMES, [group for group, _ in asked], [event_id for _, event_id in asked]
        )
        found = {
            (group, event_id): (Outcome.DEAD, redrives) if is_dead else (Outcome.DONE, 0)
            for group, event_id, is_dead, redrives in rows
        }
        return [found.get(key) for key in keys]

    # ---- expiry

    async def due(self, limit: int) -> Sequence[Order]:
        return [_to_order(row) for row in await self._links.read(_DUE, limit)]

    async def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Order]:
        than_us, than_id = before or (_EVER_US, "")
        rows = await self._links.read(
            _OF_CUSTOMER, storable(customer_id), than_us, storable(than_id), limit
        )
        return [_to_order(row) for row in rows]

    async def wait_due(self) -> None:
        while True:
            rest_us = (await self._links.read(_NEXT_DUE))[0]["rest_us"]
            if rest_us is not None and rest_us <= 0:
                return
            # An earlier one may be created meanwhile, by anybody.
            wait_us = self._poll_us if rest_us is None else min(rest_us, self._poll_us)
            await asyncio.sleep(wait_us / 1e6)

    # ---- starts and customers

    async def begin_start(self, group: str, event_id: str, redrives: int) -> int:
        rows = await self._links.change(_BEGIN_START, storable(event_id), group, redrives)
        return int(rows[0]["unexplained"])

    async def explain_start(self, group: str, event_id: str, redrives: int) -> None:
        await self._links.change(_EXPLAIN_START, storable(event_id), group, redrives)

    async def is_blocked(
        self,
        order_id: str,  # noqa: ARG002 - the port's shape
        customer_id: str,
        *,
        deadline_us: int,
    ) -> bool:
        """See `CustomerStore`; the deadline is one of the machine's monotonic clock."""
        loop = asyncio.get_running_loop()
        answer = self._customers.put(_Customer(storable(customer_id)))
        timer = loop.call_at(deadline_us / 1e6, _time_out, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    async def _are_blocked(self, customers: Sequence[_Customer]) -> list[bool]:
        rows = await self._links.read(_BLOCKED, list(dict.fromkeys(customers)))
        blocked = {row["customer_id"] for row in rows}
        return [customer in blocked for customer in customers]

    # ---- the end

    async def close(self) -> None:
        """Finish the calls that run, refuse those that wait."""
        why = Down("the store is closed", dependency=DEPENDENCY, after_us=0)
        for batcher in self._batchers():
            await batcher.close(why)

    def abort(self) -> None:
        """End as a killed process does."""
        for batcher in self._batchers():
            batcher.abort()

    def _batchers(self) -> tuple[Batcher[Any, Any], ...]:
        return self._units, self._loads, self._looks, self._customers


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresStore:
    """The order store as one process has it, by port."""

    orders: PostgresOrderStore
    outbox: PostgresOutbox
    key_retry: PostgresKeyRetry
    links: Links

    async def close(self) -> None:
        """Finish the calls that run and take leave of the server; bounded."""
        await self.orders.close()
        await self.key_retry.close()
        await self.outbox.close()
        await self.links.close()

    def abort(self) -> None:
        """Close every connection at once, as the operating system does for a killed process."""
        self.orders.abort()
        self.key_retry.abort()
        self.outbox.abort()
        self.links.abort()


def open_store(
    server: PostgresServer, *, shards: int, poll_us: int = 500_000, tell: Tell = tell_nobody
) -> PostgresStore:
    """The clients of one process; they connect when they are first used.

    Args:
        server: where, in a schema that `postgres_schema.prepare` has made.
        shards: shards of the outbox, as given to `prepare`.
        poll_us: how often is looked where a hint may have been missed.
        tell: hears when the server is of no use, and when it is again.
    """
    links = Links(server, _LINKS, tell)
    return PostgresStore(
        orders=PostgresOrderStore(links, shards=shards, poll_us=poll_us),
        outbox=PostgresOutbox(server, shards=shards, poll_us=poll_us),
        key_retry=PostgresKeyRetry(links),
        links=links,
    )


def _time_out(answer: "asyncio.Future[bool]") -> None:
    if not answer.done():
        answer.set_exception(Transient("the customer's record was not read in time"))


def _to_order(row: Row) -> Order:
    return Order(
        id=OrderId(row[0]),
        lab_subject=row[1],
        state=OrderState(row[2]),
        version=row[3],
        customer_id=row[4],
        country=row[5],
        currency=row[6],
        amount_cents=row[7],
        created_us=row[8],
        expires_us=row[9],
        traceparent=row[10],
        was_cancelled=row[11],
    )


def _to_loaded(rows: Sequence[Row]) -> Loaded:
    """One order with its intents: a row for each, or a single one without."""
    first = rows[0]
    order = _to_order(first)
    intents = () if first[13] is None else tuple([_to_intent(order.id, row) for row in rows])
    return Loaded(order=order, intents=intents, now_us=first[12])


def _to_intent(order_id: OrderId, row: Row) -> Intent:
    return Intent(
        order_id=order_id,
        kind=IntentKind(row[13]),
        n=row[14],
        key=row[15],
        amount_cents=row[16],
        currency=row[17],
        send_until_us=row[18],
        is_open=row[19],
    )
