"""The places of the crash points: the port, the call, the side of it, and the orders that pass.

Not here: dying there, and the points that lie at no single call: `handler.after_ack` (the end of a
delivery), `shutdown.mid_drain` and `any` (`strikes.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.domain.envelope import H_SUBJECT, text_header
from lab.ports.bus import Consumer, Publisher
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.every_call import PortType
from lab.ports.providers import Mailer, PaymentGateway
from lab.ports.store import OrderStore, OutboxRow, OutboxStore, Unit, UnitVerdict


class Role(StrEnum):
    """The part that a process plays."""

    API = "api"
    RELAY = "relay"
    CONSUMER = "consumer"


class Moment(StrEnum):
    """The side of a call on which a point lies."""

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
    port: PortType[object]
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
    return _unit(call) if call.result is UnitVerdict.COMMITTED else _NOBODY


def _settling(call: Call) -> Sequence[str] | None:
    assert isinstance(call.first, Unit)
    return _unit(call) if call.first.settles else _NOBODY


def _settled(call: Call) -> Sequence[str] | None:
    return _settling(call) if call.result is UnitVerdict.COMMITTED else _NOBODY


def _rows(call: Call) -> Sequence[str]:
    assert isinstance(call.result, Sequence)
    return [row.envelope.lab_subject for row in call.result if isinstance(row, OutboxRow)]


def _fetched(call: Call) -> Sequence[str]:
    assert isinstance(call.result, list)
    return [text_header(record.headers, H_SUBJECT) for record in call.result]


def _claimed(call: Call) -> Sequence[str] | None:
    assert isinstance(call.result, Claim)
    is_ours = call.result.state in (ClaimState.ACQUIRED, ClaimState.TAKEOVER)
    return _OWN if is_ours else _NOBODY


def _published(suffix: str) -> Visits:
    def visits(call: Call) -> Sequence[str]:
        assert isinstance(call.first, Sequence)
        return [
            text_header(record.headers, H_SUBJECT)
            for record in call.first
            if suffix in record.topic
        ]

    return visits


_API, _RELAY, _CONSUMER = Role.API, Role.RELAY, Role.CONSUMER
_BEFORE, _AFTER = Moment.BEFORE, Moment.AFTER
_RETRY, _DLQ = _published(".retry"), _published(".dlq")

HOOKS: Final = (
    Hook("api.before_commit", _API, OrderStore, "commit", _BEFORE, _unit),
    Hook("api.after_commit", _API, OrderStore, "commit", _AFTER, _committed),
    Hook("relay.after_claim", _RELAY, OutboxStore, "unpublished", _AFTER, _rows),
    Hook("relay.after_publish", _RELAY, Publisher, "publish", _AFTER, _published("")),
    Hook("consumer.after_fetch", _CONSUMER, Consumer, "poll", _AFTER, _fetched),
    Hook("dedupe.after_claim", _CONSUMER, DedupeStore, "claim", _AFTER, _claimed),
    Hook("handler.before_effect", _CONSUMER, PaymentGateway, "charge", _BEFORE, _own),
    Hook("handler.before_effect", _CONSUMER, PaymentGateway, "refund", _BEFORE, _own),
    Hook("handler.before_effect", _CONSUMER, Mailer, "send", _BEFORE, _own),
    Hook("handler.after_effect", _CONSUMER, PaymentGateway, "charge", _AFTER, _own),
    Hook("handler.after_effect", _CONSUMER, PaymentGateway, "refund", _AFTER, _own),
    Hook("handler.after_effect", _CONSUMER, Mailer, "send", _AFTER, _own),
    Hook("handler.before_commit", _CONSUMER, OrderStore, "commit", _BEFORE, _settling),
    Hook("handler.after_commit", _CONSUMER, OrderStore, "commit", _AFTER, _settled),
    Hook("retry.after_publish", _CONSUMER, Publisher, "publish", _AFTER, _RETRY),
    Hook("dlq.before_publish", _CONSUMER, Publisher, "publish", _BEFORE, _DLQ),
    Hook("dlq.after_publish", _CONSUMER, Publisher, "publish", _AFTER, _DLQ),
)
"""Every point that lies at a call of a port."""
