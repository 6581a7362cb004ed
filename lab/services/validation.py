"""Validation: asks whether an order may be paid, all at once, and says yes or why not.

The questions are read only, so asking twice does no harm. Not here: the answers' price in money,
which is the payment service's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.domain.errors import Transient
from lab.domain.events import OrderCreated, OrderRejected, OrderValidated, Payload
from lab.domain.lineage import derive
from lab.domain.order import OrderState
from lab.ports.clock import Clock
from lab.ports.processes import Tasks
from lab.ports.providers import Antifraud, Warehouse
from lab.ports.service import Context, Handler
from lab.ports.store import Change, CustomerStore, Loaded, OrderStore, Unit, UnitVerdict
from lab.ports.strategies import Note

_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The consumer group `validation`.

    Attributes:
        timeout_us: each question's own limit; the handler's deadline may be nearer.
    """

    store: OrderStore
    customers: CustomerStore
    warehouse: Warehouse
    antifraud: Antifraud
    tasks: Tasks
    clock: Clock
    timeout_us: int
    note: Note
    group: str = "validation"

    def handlers(self) -> Mapping[str, Handler]:
        return {"OrderCreated": self.on_order_created}

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        """Nobody could answer: the order stays PENDING until it expires."""
        del event_type
        return Unit(order_id=order_id)

    async def on_order_created(self, payload: Payload, context: Context) -> None:
        """PENDING -> VALIDATED or REJECTED."""
        assert isinstance(payload, OrderCreated)
        verdict: OrderValidated | OrderRejected | None = None
        for _ in range(_ROUNDS):
            loaded = await self.store.load(payload.order_id)
            if loaded is None:
                raise Transient(f"order {payload.order_id} is not stored yet")
            order = loaded.order
            if order.state is not OrderState.PENDING:
                self.note(order.lab_subject, "stale")
                unit = Unit(lab_subject=order.lab_subject)
            elif order.expires_us <= loaded.now_us:
                # EXPIRED is the timer's to say.
                self.note(order.lab_subject, "expired")
                unit = Unit(lab_subject=order.lab_subject)
            else:
                if verdict is None:
                    verdict = await self._ask(payload, context)
                unit = self._move(loaded, verdict, context)
            if await context.settle(unit) is UnitVerdict.COMMITTED:
                return
        raise Transient(f"order {payload.order_id} kept changing while it was validated")

    async def _ask(self, payload: OrderCreated, context: Context) -> OrderValidated | OrderRejected:
        """All three at once; the first objection ends the others."""
        deadline_us = min(context.deadline_us, self.clock.now_us() + self.timeout_us)
        order_id, customer_id = payload.order_id, payload.customer_id

        async def stock() -> str:
            found = await self.warehouse.in_stock(order_id, payload.items, deadline_us=deadline_us)
            return "" if found else "out_of_stock"

        async def fraud() -> str:
            found = await self.antifraud.is_fraud(
                order_id, customer_id, payload.amount_cents, deadline_us=deadline_us
            )
            return "fraud" if found else ""

        async def customer() -> str:
            found = await self.customers.is_blocked(order_id, customer_id, deadline_us=deadline_us)
            return "customer_blocked" if found else ""

        objections = await self.tasks.together((stock, fraud, customer), until=bool)
        for objection in objections:
            if objection:
                return OrderRejected(order_id=order_id, reason=objection)
        return OrderValidated(
            order_id=order_id, currency=payload.currency, amount_cents=payload.amount_cents
        )

    def _move(
        self, loaded: Loaded, verdict: OrderValidated | OrderRejected, context: Context
    ) -> Unit:
        order = loaded.order
        is_good = isinstance(verdict, OrderValidated)
        event = derive(
            verdict,
            by=self.group,
            cause_id=context.envelope.id,
            traceparent=context.envelope.traceparent,
            sequence=order.version + 1,
            time_us=loaded.now_us,
            lab_subject=order.lab_subject,
            expires_us=order.expires_us if is_good else None,
        )
        return Unit(
            lab_subject=order.lab_subject,
            order_id=order.id,
            change=Change(
                version=order.version,
                to=OrderState.VALIDATED if is_good else OrderState.REJECTED,
            ),
            events=(event,),
        )
