"""The places of the crash points: the port, the call, the side of it, and the orders that pass.

Not here: dying there, and the points that lie at no single call: `handler.after_ack` (the end of a
delivery), `shutdown.mid_drain` and `any` (`strikes.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from inspect import iscoroutinefunction
from typing import Final

from lab.domain.envelope import H_SUBJECT, header
from lab.ports.bus import Consumer, Outgoing, Publisher, Record
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.key_retry import KeyRetryStore
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.store import (
    CustomerStore,
    OrderStore,
    OutboxRow,
    OutboxStore,
    StartStore,
    Unit,
    Verdict,
)


class Role(StrEnum):
    """What a process is for."""

    API = "api"
    RELAY = "relay"
    CONSUMER = "consumer"


class Port(StrEnum):
    """The ports that crash points lie around."""

    ORDERS = "orders"
    OUTBOX = "outbox"
    STARTS = "starts"
    KEY_RETRY = "key_retry"
    CUSTOMERS = "customers"
    DEDUPE = "dedupe"
    PUBLISHER = "publisher"
    CONSUMER = "consumer"
    WAREHOUSE = "warehouse"
    ANTIFRAUD = "antifraud"
    GATEWAY = "gateway"
    MAILER = "mailer"


class Moment(StrEnum):
    """On which side of a call a point lies."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port: its first argument, and its result once there is one."""

    first: object
    result: object = None


Visits = Callable[[Call], Sequence[str] | None]
"""The subjects that pass the point with this call; None: the subject that is being handled."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One crash point at one call."""

    point: str
    role: Role
    port: Port
    method: str
    moment: Moment
    visits: Visits


_NOBODY: Final[tuple[str, ...]] = ()
_OWN: Final = None


def _own(_call: Call) -> Sequence[str] | None:
    return _OWN


def _unit(call: Call) -> Sequence[str] | None:
    assert isinstance(call.first, Unit)
    return (call.first.lab_subject,) if call.first.lab_subject else _OWN


def _committed(call: Call) -> Sequence[str] | None:
    return _unit(call) if call.result is Verdict.COMMITTED else _NOBODY


def _settling(call: Call) -> Sequence[str] | None:
    assert isinstance(call.first, Unit)
    return _unit(call) if call.first.settles else _NOBODY


def _settled(call: Call) -> Sequence[str] | None:
    return _settling(call) if call.result is Verdict.COMMITTED else _NOBODY


def _rows(call: Call) -> Sequence[str]:
    assert isinstance(call.result, Sequence)
    return [row.envelope.lab_subject for row in call.result if isinstance(row, OutboxRow)]


def _fetched(call: Call) -> Sequence[str]:
    assert isinstance(call.result, list)
    return [_subject_of(record) for record in call.result]


def _claimed(call: Call) -> Sequence[str] | None:
    assert isinstance(call.result, Claim)
    is_ours = call.result.state in (ClaimState.ACQUIRED, ClaimState.TAKEOVER)
    return _OWN if is_ours else _NOBODY


def _published(suffix: str) -> Visits:
    def visits(call: Call) -> Sequence[str]:
        assert isinstance(call.first, Sequence)
        return [_subject_of(record) for record in call.first if suffix in record.topic]

    return visits


def _subject_of(record: Record | Outgoing) -> str:
    return (header(record.headers, H_SUBJECT) or b"").decode(errors="replace")


_API, _RELAY, _CONSUMER = Role.API, Role.RELAY, Role.CONSUMER
_BEFORE, _AFTER = Moment.BEFORE, Moment.AFTER
_RETRY, _DLQ = _published(".retry"), _published(".dlq")

HOOKS: Final = (
    Hook("api.before_commit", _API, Port.ORDERS, "commit", _BEFORE, _unit),
    Hook("api.after_commit", _API, Port.ORDERS, "commit", _AFTER, _committed),
    Hook("relay.after_claim", _RELAY, Port.OUTBOX, "unpublished", _AFTER, _rows),
    Hook("relay.after_publish", _RELAY, Port.PUBLISHER, "publish", _AFTER, _published("")),
    Hook("consumer.after_fetch", _CONSUMER, Port.CONSUMER, "poll", _AFTER, _fetched),
    Hook("dedupe.after_claim", _CONSUMER, Port.DEDUPE, "claim", _AFTER, _claimed),
    Hook("handler.before_effect", _CONSUMER, Port.GATEWAY, "charge", _BEFORE, _own),
    Hook("handler.before_effect", _CONSUMER, Port.GATEWAY, "refund", _BEFORE, _own),
    Hook("handler.before_effect", _CONSUMER, Port.MAILER, "send", _BEFORE, _own),
    Hook("handler.after_effect", _CONSUMER, Port.GATEWAY, "charge", _AFTER, _own),
    Hook("handler.after_effect", _CONSUMER, Port.GATEWAY, "refund", _AFTER, _own),
    Hook("handler.after_effect", _CONSUMER, Port.MAILER, "send", _AFTER, _own),
    Hook("handler.before_commit", _CONSUMER, Port.ORDERS, "commit", _BEFORE, _settling),
    Hook("handler.after_commit", _CONSUMER, Port.ORDERS, "commit", _AFTER, _settled),
    Hook("retry.after_publish", _CONSUMER, Port.PUBLISHER, "publish", _AFTER, _RETRY),
    Hook("dlq.before_publish", _CONSUMER, Port.PUBLISHER, "publish", _BEFORE, _DLQ),
    Hook("dlq.after_publish", _CONSUMER, Port.PUBLISHER, "publish", _AFTER, _DLQ),
)
"""Every point that lies at a call of a port."""

_PROTOCOLS: Final[Mapping[Port, type]] = {
    Port.ORDERS: OrderStore,
    Port.OUTBOX: OutboxStore,
    Port.STARTS: StartStore,
    Port.KEY_RETRY: KeyRetryStore,
    Port.CUSTOMERS: CustomerStore,
    Port.DEDUPE: DedupeStore,
    Port.PUBLISHER: Publisher,
    Port.CONSUMER: Consumer,
    Port.WAREHOUSE: Warehouse,
    Port.ANTIFRAUD: Antifraud,
    Port.GATEWAY: PaymentGateway,
    Port.MAILER: Mailer,
}


@cache
def awaited_methods(port: Port) -> tuple[str, ...]:
    """The methods of a port that suspend, so that a crash can fall before or after them."""
    protocol = _PROTOCOLS[port]
    return tuple(
        name
        for name in sorted(dir(protocol))
        if not name.startswith("_") and iscoroutinefunction(getattr(protocol, name))
    )
