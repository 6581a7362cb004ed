"""The order store in memory: a server that survives crashes, and the clients of its processes.

A transaction is one step of the simulator: everything is checked, then everything is applied, so
it is as if transactions ran one after the other. Each change writes its fact to the history at that
moment. Not here: the tables themselves (`memory_*`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from lab.domain.order import Order, OrderState
from lab.history.recorder import Write
from lab.ports.retention import Ages
from lab.ports.store import (
    Change,
    Create,
    CustomerStore,
    HttpKeyRow,
    IntentChange,
    IntentOp,
    Loaded,
    OrderStore,
    Outcome,
    StartStore,
    Unit,
    UnitVerdict,
)
from lab.stores.memory.base import Crossing, Harness, OwnerLife, crosses
from lab.stores.memory.expiry import Expiries
from lab.stores.memory.facts import Facts
from lab.stores.memory.http_keys import HttpKeyTable
from lab.stores.memory.key_retry import KeyRetryTable, MemoryKeyRetry
from lab.stores.memory.outage import Line, Outage
from lab.stores.memory.outbox import MemoryOutbox, OutboxTable
from lab.stores.memory.outcomes import DONE, OutcomeTable
from lab.stores.memory.rows import OrderRows, Row, stepped
from lab.stores.unit_rules import check_unit

_OPEN = (OrderState.PENDING, OrderState.VALIDATED)
_PENDING = OrderState.PENDING
_COMMITTED = UnitVerdict.COMMITTED
_CONFLICT = UnitVerdict.CONFLICT


class MemoryStoreServer:
    """One order store: all tables, one clock, one history of facts.

    Args:
        harness: the process that never dies; the server's clock and timers are its.
        retention_us: ended orders, `done` rows and HTTP keys are forgotten some time after this;
            must be longer than the oldest possible redelivery.
        shards: shards of the outbox.
        write: takes the facts, or None.
        is_blocked: which customers are blocked.

    Attributes:
        rows: the orders; also their numbers by state and open intents.
        outbox: rows that are owed to the bus, and the shards.
        key_retry: keys in retry.
        now_us: database time.
        outcomes: done and dead events.
        revenue: minor units by currency.
        starts: unexplained starts by (group, event id, redrives).
        http_keys: answers by their Idempotency-Key.
        outage: whether the server can be reached.
    """

    def __init__(
        self,
        harness: Harness,
        *,
        retention_us: int,
        shards: int = 4,
        write: Write | None = None,
        is_blocked: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._now = harness.now_us
        self.now_us = harness.wall_us
        self.outage = Outage("postgres")
        self._facts = None if write is None else Facts(write, harness.now_us)
        self.is_blocked = is_blocked
        self.rows = OrderRows(retention_us)
        self.outbox = OutboxTable(shards)
        self.outcomes = OutcomeTable(retention_us)
        self.key_retry = KeyRetryTable(self.outcomes, self.now_us, self._facts)
        self.expiries = Expiries(harness)
        self.revenue: dict[str, int] = {}
        self.starts: dict[tuple[str, str, int], int] = {}
        self.http_keys = HttpKeyTable(retention_us)

    def connect(self, life: OwnerLife) -> "MemoryStore":
        """A client for one life of a process; it ends with it."""
        return MemoryStore(
            orders=MemoryOrderStore(self, life),
            outbox=MemoryOutbox(self.outbox, life, self.outage),
            key_retry=MemoryKeyRetry(self.key_retry, self.outage),
        )

    def begin_outage(self) -> None:
        """From now on nobody is answered; see `lab.stores.memory.outage`."""
        self.outage.begin()

    def end_outage(self) -> None:
        """The server is back, with all that it had."""
        self.outage.end()

    # ---- for an onlooker

    @property
    def orders_by_state(self) -> Mapping[OrderState, int]:
        """How many orders are in each state, whether or not they are remembered."""
        return self.rows.by_state

    @property
    def open_intents(self) -> int:
        """How many intents are open."""
        return self.rows.open_intents

    def orders(self) -> Iterator[Loaded]:
        """Every order that is remembered, in no promised order, the same in each run."""
        now_us = self.now_us()
        for row in self.rows:
            yield Loaded(order=row.order, intents=row.intents, now_us=now_us)

    def clear(self) -> None:
        """Let go of everything at the end of a run: crashed processes hold the server for ever."""
        for table in (self.rows, self.outbox, self.outcomes, self.key_retry, self.expiries):
            table.clear()
        self.http_keys.clear()
        self.starts.clear()

    # ---- transactions and reads, each in one step

    def commit(self, unit: Unit) -> UnitVerdict:
        """See `Committer.commit`.

        Raises:
            ValueError: see `check_unit`; nothing was applied.
        """
        check_unit(unit)
        verdict = self._overruled(unit)
        if verdict is not None:
            return verdict
        if unit.create is not None:
            if not self._create(unit, unit.create):
                return _CONFLICT
        elif not self._change_order(unit):
            return _CONFLICT
        # From here on nothing is refused.
        if unit.outboxed:
            for event in unit.events:
                self.outbox.append(event)
        self._apply_rest(unit)
        return _COMMITTED

    def load(self, order_id: str) -> Loaded | None:
        """See `OrderStore.load`."""
        row = self.rows.peek(order_id)
        if row is None:
            return None
        return Loaded(order=row.order, intents=row.intents, now_us=self.now_us())

    def due(self, limit: int) -> list[Order]:
        """See `OrderStore.due`."""
        found = [self.rows.peek(order_id) for order_id in self.expiries.due(self.now_us(), limit)]
        return [row.order for row in found if row is not None]

    def begin_start(self, key: tuple[str, str, int]) -> int:
        """See `StartStore.begin_start`."""
        unexplained = self.starts.get(key, 0)
        self.starts[key] = unexplained + 1
        return unexplained

    def explain_start(self, key: tuple[str, str, int]) -> None:
        """See `StartStore.explain_start`."""
        unexplained = self.starts.get(key, 0)
        if unexplained > 1:
            self.starts[key] = unexplained - 1
        elif unexplained:
            del self.starts[key]

    def old(self, ages: Ages) -> tuple[list[tuple[str, str]], list[str]]:
        """Done rows (group, event) and Idempotency-Keys that are older than that."""
        now_us = self._now()
        owed_us = self.outbox.owed_since_us(self.now_us()) - self.now_us() + now_us
        done = self.outcomes.old(min(now_us - ages.inbox, owed_us)) if ages.inbox else []
        keys = self.http_keys.older(now_us - ages.http_keys) if ages.http_keys else []
        return done, keys

    # ---- the parts of a transaction

    def _overruled(self, unit: Unit) -> UnitVerdict | None:
        """The verdict that an earlier commit of the same event or key leaves; None without one."""
        if unit.outcome is not None:
            verdict = self.outcomes.overruled(unit.outcome)
            if verdict is not None:
                return verdict
        if unit.http_key is not None and unit.http_key.key in self.http_keys:
            return UnitVerdict.KEY_TAKEN
        return None

    def _create(self, unit: Unit, create: Create) -> bool:
        if self.rows.peek(create.id) is not None:
            return False
        now_us = self.now_us()
        given = create.order
        order = Order(
            id=create.id,
            lab_subject=create.lab_subject,
            state=_PENDING,
            version=1,
            customer_id=given.customer_id,
            country=given.country,
            currency=given.currency,
            amount_cents=given.amount_cents,
            created_us=now_us,
            expires_us=now_us + create.expiry_us,
            traceparent=create.traceparent,
        )
        self.rows.add(Row(order))
        self.rows.tidy(now_us)
        self.expiries.add(create.id, order.expires_us)
        if self._facts is not None:
            self._facts.row(unit, order)
        return True

    def _change_order(self, unit: Unit) -> bool:
        """Check and apply the changes of a unit to an order that exists; False if it may not."""
        change = unit.change
        if change is None and not unit.intents and not unit.in_states:
            return True
        row = self.rows.get(unit.order_id)
        if row is None:
            return False
        order = row.order
        if change is not None and order.version != change.version:
            return False
        state = order.state
        if unit.in_states and state not in unit.in_states:
            return False
        if unit.intents:
            intents = row.intents
            for step in unit.intents:
                following = stepped(intents, step, state, self.now_us())
                if following is None:
                    return False
                intents = following
            row.intents = intents
            self._apply_steps(row, unit.intents)
        if change is not None:
            self._move(unit, row, change)
        return True

    def _move(self, unit: Unit, row: Row, change: Change) -> None:
        was, to = row.order.state, change.to
        order = msgspec.structs.replace(row.order, state=to, version=change.version + 1)
        if to is OrderState.CANCELLED:
            order = msgspec.structs.replace(order, was_cancelled=True)
        self.rows.move(row, order)
        if was in _OPEN and to not in _OPEN:
            self.expiries.discard(order.id)
        if self._facts is not None:
            self._facts.row(unit, order)

    def _apply_steps(self, row: Row, steps: Sequence[IntentChange]) -> None:
        for step in steps:
            if step.op is IntentOp.OPEN:
                self.rows.open_intents += 1
            elif step.op is IntentOp.CLOSE:
                self.rows.open_intents -= 1
            if self._facts is not None:
                self._facts.intent(row.order, step, row.order.state)

    def _apply_rest(self, unit: Unit) -> None:
        """Everything but the order and its events. Nothing of it can be refused."""
        outcome, revenue, http_key = unit.outcome, unit.revenue, unit.http_key
        if outcome is not None:
            self.outcomes.put(outcome, self._now())
            if outcome.is_dead and unit.order_id:
                self.rows.pin(unit.order_id)
            if self.starts:
                self.starts.pop((outcome.group, outcome.event_id, outcome.redrives), None)
        if revenue is not None:
            before = self.revenue.get(revenue.currency, 0)
            self.revenue[revenue.currency] = before + revenue.amount_cents
        if http_key is not None:
            self.http_keys.put(http_key, self._now())
        if self._facts is not None:
            self._facts.rest(unit)


class MemoryOrderStore(OrderStore, StartStore, CustomerStore):
    """One process's way to the orders. Answers at once, unless there is an outage."""

    def __init__(self, server: MemoryStoreServer, life: OwnerLife) -> None:
        self._server = server
        self._life = life
        self._outage = server.outage
        self._line = Line(server.outage)
        life.on_kill.append(self._on_kill)

    def _on_kill(self) -> None:
        self._server.expiries.forget(self._life)

    @crosses
    def commit(self, unit: Unit) -> Crossing[UnitVerdict]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._server.commit, unit))
        return self._server.commit(unit)

    @crosses
    def load(self, order_id: str) -> Crossing[Loaded | None]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._server.load(order_id)

    @crosses
    def outcome(self, group: str, event_id: str) -> Crossing[tuple[Outcome, int] | None]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        found = self._server.outcomes.find(group, event_id)
        if found is None:
            return None
        return (Outcome.DONE, 0) if found == DONE else (Outcome.DEAD, found)

    @crosses
    def http_key(self, key: str) -> Crossing[HttpKeyRow | None]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._server.http_keys.find(key)

    @crosses
    def due(self, limit: int) -> Crossing[Sequence[Order]]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._server.due(limit)

    @crosses
    def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Crossing[Sequence[Order]]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._server.rows.of_customer(customer_id, before, limit)

    async def wait_due(self) -> None:
        await self._server.expiries.wait(self._life)

    @crosses
    def begin_start(self, group: str, event_id: str, redrives: int) -> Crossing[int]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._server.begin_start, (group, event_id, redrives)))
        return self._server.begin_start((group, event_id, redrives))

    @crosses
    def explain_start(self, group: str, event_id: str, redrives: int) -> Crossing[None]:
        yield
        if self._outage.is_on:
            self._line.cut(partial(self._server.explain_start, (group, event_id, redrives)))
        self._server.explain_start((group, event_id, redrives))

    @crosses
    def is_blocked(
        self,
        order_id: str,  # noqa: ARG002 - the port's shape
        customer_id: str,
        *,
        deadline_us: int,  # noqa: ARG002 - as above
    ) -> Crossing[bool]:
        yield
        if self._outage.is_on:
            self._line.refuse()
        return self._server.is_blocked(customer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStore:
    """The order store as one life of a process has it, by port."""

    orders: MemoryOrderStore
    outbox: MemoryOutbox
    key_retry: MemoryKeyRetry
