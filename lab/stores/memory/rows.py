"""Order rows in memory: the live ones as objects, the finished ones packed, the old ones forgotten.

Packing loses nothing: a finished order that is touched again is a live row again. It is there so
that a hundred thousand finished orders fit in little memory.
Not here: deciding whether an order may change (`store.py`).
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from lab.domain.order import TERMINAL, Intent, IntentKind, Order, OrderId, OrderState
from lab.ports.store import IntentChange, IntentOp
from lab.stores.memory.base import Aged

_LIVE_AFTER_END: Final = 256
"""Orders that ended last stay live: mails and cancellations still come for them."""


class Row(msgspec.Struct):
    """One live order: its row and its intents, oldest first. Values are replaced, not changed."""

    order: Order
    intents: tuple[Intent, ...] = ()


class OrderRows:
    """All orders.

    Args:
        retention_us: an order that has ended is forgotten some time after this.

    Attributes:
        by_state: orders in each state, forgotten ones too.
        open_intents: intents that are open.
    """

    def __init__(self, retention_us: int) -> None:
        self.by_state: dict[OrderState, int] = dict.fromkeys(OrderState, 0)
        self.open_intents = 0
        self._live: dict[str, Row] = {}
        self._packed: Aged[bytes] = Aged(retention_us)
        self._ended: deque[str] = deque()
        self._pinned: dict[str, None] = {}

    def get(self, order_id: str) -> Row | None:
        """The live row of an order, unpacked if it was packed; None if there is no such order."""
        row = self._live.get(order_id)
        if row is None:
            packed = self._packed.pop(order_id)
            if packed is None:
                return None
            row = self._live[order_id] = _unpack(order_id, packed)
            self._ended.append(order_id)
        return row

    def peek(self, order_id: str) -> Row | None:
        """The row of an order to be read only."""
        row = self._live.get(order_id)
        if row is None:
            packed = self._packed.get(order_id)
            return None if packed is None else _unpack(order_id, packed)
        return row

    def add(self, row: Row) -> None:
        """Insert a new order."""
        self._live[row.order.id] = row
        self.by_state[row.order.state] += 1

    def move(self, row: Row, order: Order) -> None:
        """Replace the order of a live row by its next version."""
        self.by_state[row.order.state] -= 1
        self.by_state[order.state] += 1
        row.order = order
        if order.state in TERMINAL:
            self._ended.append(order.id)

    def pin(self, order_id: str) -> None:
        """An event of this order is dead: it may be redriven, so the order is never forgotten."""
        self._pinned[order_id] = None
        self.get(order_id)

    def tidy(self, now_us: int) -> None:
        """Pack orders that ended long ago, at their turn. Cheap; called for each new order."""
        # Two for each new one, because an order that is refunded ends twice.
        for _ in range(min(2, len(self._ended) - _LIVE_AFTER_END)):
            order_id = self._ended.popleft()
            row = self._live.get(order_id)
            if row is not None and self._is_over(row):
                del self._live[order_id]
                self._packed.put(order_id, _pack(row), now_us)

    def _is_over(self, row: Row) -> bool:
        """Whether nothing is owed for the order: it can be packed, and forgotten one day."""
        return (
            row.order.state in TERMINAL
            and row.order.id not in self._pinned
            and not any(intent.is_open for intent in row.intents)
        )

    def of_customer(
        self, customer_id: str, before: tuple[int, str] | None, limit: int
    ) -> list[Order]:
        """See `OrderStore.of_customer`. Looks at every order: no simulated client asks."""
        found = [row.order for row in self if row.order.customer_id == customer_id]
        if before is not None:
            found = [order for order in found if (order.created_us, order.id) < before]
        found.sort(key=lambda order: (order.created_us, order.id), reverse=True)
        return found[:limit]

    def clear(self) -> None:
        """Forget every order."""
        self._live.clear()
        self._packed.clear()
        self._ended.clear()
        self._pinned.clear()

    def __iter__(self) -> Iterator[Row]:
        """Every order that is not forgotten, packed ones first."""
        for order_id, packed in self._packed.items():
            yield _unpack(order_id, packed)
        yield from self._live.values()


def stepped(
    intents: tuple[Intent, ...], step: IntentChange, state: OrderState, now_us: int
) -> tuple[Intent, ...] | None:
    """The intents of an order after one step; None if the step is not possible."""
    if step.before_us and now_us >= step.before_us:
        return None
    wanted = step.intent
    place = next(
        (
            place
            for place, intent in enumerate(intents)
            if intent.n == wanted.n and intent.kind is wanted.kind
        ),
        None,
    )
    if step.op is IntentOp.OPEN:
        return (*intents, wanted) if place is None and state in step.while_in else None
    if place is None or not intents[place].is_open:
        return None
    present = intents[place]
    expected_us = step.expected_send_until_us
    if step.op is IntentOp.CLOSE:
        if expected_us and present.send_until_us != expected_us:
            return None
        changed = msgspec.structs.replace(present, is_open=False)
    elif present.send_until_us != expected_us or state not in step.while_in:
        return None
    else:
        # Never earlier: a send may be on its way under the present one.
        until_us = max(present.send_until_us, wanted.send_until_us)
        changed = msgspec.structs.replace(present, send_until_us=until_us)
    return (*intents[:place], changed, *intents[place + 1 :])


class _PackedIntent(msgspec.Struct, array_like=True, gc=False):
    kind: IntentKind
    n: int
    key: str
    amount_cents: int
    currency: str
    send_until_us: int


class _Packed(msgspec.Struct, array_like=True, gc=False):
    lab_subject: str
    state: OrderState
    version: int
    customer_id: str
    country: str | None
    currency: str
    amount_cents: int
    created_us: int
    expires_us: int
    traceparent: str
    was_cancelled: bool
    intents: tuple[_PackedIntent, ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


def _pack(row: Row) -> bytes:
    """A row without open intents as bytes; its id is the key under which they are kept."""
    order = row.order
    return _encode(
        (
            order.lab_subject,
            order.state,
            order.version,
            order.customer_id,
            order.country,
            order.currency,
            order.amount_cents,
            order.created_us,
            order.expires_us,
            order.traceparent,
            order.was_cancelled,
            [
                (each.kind, each.n, each.key, each.amount_cents, each.currency, each.send_until_us)
                for each in row.intents
            ],
        )
    )


def _unpack(order_id: str, packed: bytes) -> Row:
    """The row that `_pack` was given."""
    found = _decode(packed)
    known = OrderId(order_id)
    return Row(
        order=Order(
            id=known,
            lab_subject=found.lab_subject,
            state=found.state,
            version=found.version,
            customer_id=found.customer_id,
            country=found.country,
            currency=found.currency,
            amount_cents=found.amount_cents,
            created_us=found.created_us,
            expires_us=found.expires_us,
            traceparent=found.traceparent,
            was_cancelled=found.was_cancelled,
        ),
        intents=tuple(
            Intent(
                order_id=known,
                kind=each.kind,
                n=each.n,
                key=each.key,
                amount_cents=each.amount_cents,
                currency=each.currency,
                send_until_us=each.send_until_us,
                is_open=False,
            )
            for each in found.intents
        ),
    )
