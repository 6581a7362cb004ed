"""The facts that the order store witnesses, as entries of the history (`lab.history.entries`)."""

from collections.abc import Callable
from typing import Final

import msgspec

from lab.domain.envelope import H_SUBJECT, Envelope, text_header
from lab.domain.order import Order, OrderState
from lab.history.contents import buyer_of
from lab.history.recorder import Write
from lab.ports.key_retry import WaitingRow
from lab.ports.store import HttpKeyRow, IntentChange, OutcomeRow, Revenue, Unit

_STORE = "store"


class _Told(msgspec.Struct, frozen=True):
    """The part of an event that says why."""

    reason: str = ""


_told: Final = msgspec.json.Decoder(_Told).decode


class Facts:
    """Writes every change at the moment of its application.

    Args:
        write: takes the entries.
        now: the history's clock.
    """

    def __init__(self, write: Write, now: Callable[[], int]) -> None:
        self._write = write
        self._now = now

    def row(self, unit: Unit, order: Order) -> None:
        """A new version of an order, and the event owed for it ("" if its unit brought none)."""
        event, state = unit.events[0] if unit.events else None, order.state
        has_reason = state is OrderState.REJECTED or state is OrderState.DECLINED
        self._write(
            (
                "row",
                self._now(),
                _STORE,
                order.lab_subject,
                order.version,
                state._value_,
                "" if event is None else event.id,
                "" if event is None else event.type,
                order.currency,
                order.amount_cents,
                buyer_of(order.customer_id, order.country),
                "" if event is None or not has_reason else _reason(event),
            )
        )

    def intent(self, order: Order, step: IntentChange, state: OrderState) -> None:
        """A step of an intent; `state` is the order's when its row was locked."""
        intent = step.intent
        self._write(
            (
                "intent",
                self._now(),
                _STORE,
                order.lab_subject,
                step.op._value_,
                intent.kind._value_,
                intent.n,
                intent.key,
                intent.amount_cents,
                state._value_,
            )
        )

    def rest(self, unit: Unit) -> None:
        """What a unit has brought beside its order and its events."""
        if unit.outcome is not None:
            self.outcome(unit, unit.outcome)
        if unit.revenue is not None:
            self.revenue(unit, unit.revenue)
        if unit.http_key is not None:
            self.http_key(unit, unit.http_key)

    def outcome(self, unit: Unit, row: OutcomeRow) -> None:
        """The outcome of an event in a group."""
        outcome = "dead" if row.is_dead else "done"
        subject = unit.lab_subject
        self._write(
            (
                "outcome",
                self._now(),
                _STORE,
                subject,
                row.group,
                row.event_id,
                outcome,
                row.redrives,
            )
        )

    def revenue(self, unit: Unit, revenue: Revenue) -> None:
        """Revenue that was added, with its group and its event."""
        self._write(
            (
                "revenue",
                self._now(),
                _STORE,
                unit.lab_subject,
                unit.by,
                unit.cause,
                revenue.currency,
                revenue.amount_cents,
            )
        )

    def http_key(self, unit: Unit, row: HttpKeyRow) -> None:
        """An answer stored under an Idempotency-Key."""
        subject = unit.lab_subject
        self._write(
            ("http_key", self._now(), _STORE, subject, row.key, row.body_sha256, row.status)
        )

    def waiting(self, op: str, row: WaitingRow, head: WaitingRow | None) -> None:
        """A change of a key in retry; `head` is the key's head after it."""
        subject = text_header(row.record.headers, H_SUBJECT)
        behind_dead = head is not None and head.is_dead
        self._write(
            ("waiting", self._now(), _STORE, subject, op, row.group, row.event_id, behind_dead)
        )


def _reason(event: Envelope) -> str:
    """The reason in an event's own words; "" if it has none."""
    try:
        return _told(event.data).reason
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
