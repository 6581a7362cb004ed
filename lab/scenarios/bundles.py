"""Bundles: faults that only together lead somewhere, for a seed of a swarm to draw one.

Coins thrown for each fault alone hardly ever meet at one order. The tests of directed cases
(`tests/sim/test_directed.py`) have most of these alone, with one order.

Not here: the draw (`swarm.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_MS: Final = re.compile(r"(\d+)ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Some faults and policies.

    Attributes:
        faults: as `--fault` takes them; `{}` stands for the chosen orders, lengths are those of
            virtual time.
        settings: as `--set` does, of both worlds.
        in_virtual_time: more of them, where time is virtual.
    """

    faults: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    in_virtual_time: Mapping[str, object] = field(default_factory=dict)

    def write(self, orders: str, scale: float) -> tuple[str, ...]:
        """The faults at these orders, such as `#every5`, with lengths of `scale` as much."""
        return tuple(
            _MS.sub(lambda ms: f"{max(round(int(ms[1]) * scale), 1)}ms", fault.format(orders))
            for fault in self.faults
        )


_LATE_CANCEL: Final = (
    "client.cancel{} first=1 after=900ms..1800ms",
    "svc.hang_after_effect@payment_gateway{} first=1",
)
"""The money was taken, and the customer cancels before anybody here knows of it."""

_MANY_REFUSED: Final = {"validation.rejected_percent": 50, "payment.declined_percent": 50}
_SHORT_TIERS: Final = {"retry.in_place": 1, "retry.tiers_ms": "300,800,1500"}
"""So short that a fault is still there when the last of them is over."""

BUNDLES: Final = (
    # A lost answer to a cancel.
    Bundle(
        faults=(
            "client.cancel{} first=1 after=20ms..300ms",
            "pg.conn_loss_after_commit@api{} nth=2",
        )
    ),
    Bundle(
        faults=(
            "client.cancel{} first=1 after=20ms..300ms",
            "proc.crash@api.after_commit{} nth=2",
        )
    ),
    # A cancel that is lost before its commit, and one that is repeated behind the refund.
    Bundle(
        faults=(
            "client.cancel{} first=1 after=1ms..60ms",
            "pg.conn_loss_before_commit@api{} nth=2",
        )
    ),
    Bundle(
        faults=(
            "client.cancel{} first=1 after=200ms..1500ms times=2 pause=8000ms",
            "svc.hang_after_effect@payment_gateway{} first=1",
        )
    ),
    # 409 for a mail that is never sent.
    Bundle(faults=("svc.error@mailer{} first=1 status=409",)),
    # The timer during a long outage, and money that is found behind it.
    Bundle(
        faults=("bus.down at=500ms for=60000ms",),
        settings={"orders.expiry_ms": 3_000},
    ),
    Bundle(
        faults=(
            "svc.hang_after_effect@payment_gateway{} first=1",
            "svc.error@payment_gateway{} nth=2",
            "svc.error@payment_gateway{} nth=3",
            "svc.error@payment_gateway{} nth=4",
            "pg.shutdown at=2000ms for=20000ms",
        ),
        settings={"orders.expiry_ms": 3_000},
    ),
    # An outage of everything when most is settled and little committed.
    Bundle(
        faults=(
            "bus.down at=3000ms for=40000ms",
            "pg.shutdown at=3000ms for=20000ms",
            "redis.down at=3000ms for=30000ms",
        )
    ),
    # A stop while every handler is slow.
    Bundle(
        faults=(
            "svc.slow@payment_gateway rate=1 by=1500ms",
            "svc.slow@mailer rate=1 by=1500ms",
            "proc.term@payment at=1500ms",
            "proc.term@notification at=2500ms",
        )
    ),
    # An event parks behind one whose failure is stored; a stored failure hides an effect.
    Bundle(faults=("svc.error@mailer{} first=1 status=500 stored=yes",)),
    Bundle(faults=("svc.error@payment_gateway{} first=1 status=500 stored=yes done=yes",)),
    # A dead letter that is published twice.
    Bundle(
        faults=("svc.error@mailer{} first=1 status=400", "proc.crash@dlq.after_publish{} first=1")
    ),
    # 409 and PENDING: the charge is still under way.
    Bundle(faults=("svc.acts_late@payment_gateway{} first=1 by=1900ms cut=yes",)),
    Bundle(
        faults=(
            "svc.error@payment_gateway{} first=1",
            "svc.acts_late@payment_gateway{} nth=2 by=1900ms cut=yes",
        )
    ),
    Bundle(faults=("svc.error@payment_gateway{} first=2 status=409 after=300ms",)),
    # Asked, the gateway knows of nothing: the charge has not got there, or it does not say.
    Bundle(
        faults=(
            "svc.timeout@payment_gateway{} first=1",
            "svc.acts_late@payment_gateway{} nth=2 by=1900ms seen=no",
        )
    ),
    Bundle(
        faults=(
            "svc.hang_after_effect@payment_gateway{} first=2",
            "svc.error@payment_gateway{} nth=3 status=429 after=2000ms",
            "svc.error@payment_gateway{} nth=4 status=429 after=2000ms",
        )
    ),
    # A refund whose answers are lost, and one of a charge that was not the first.
    Bundle(
        faults=(
            "client.cancel{} first=1 after=400ms..1200ms",
            "svc.hang_after_effect@payment_gateway{} first=3",
        )
    ),
    Bundle(
        faults=(
            "svc.timeout@payment_gateway{} first=2",
            "svc.hang_after_effect@payment_gateway{} nth=3",
            "client.cancel{} first=1 after=9000ms..11000ms",
        )
    ),
    # Given up at its deadline, and never executed.
    Bundle(faults=("svc.slow@payment_gateway{} first=1 by=6000ms",)),
    # Sent back out of PAYMENT_UNKNOWN when its time is up.
    Bundle(
        faults=("svc.error@payment_gateway{} first=1 status=400",),
        settings={"orders.expiry_ms": 3_000, "operator.redrives": 1},
    ),
    # A redrive after a hung mail, and of a refund that was refused.
    Bundle(
        faults=("svc.hang_after_effect@mailer{} first=2",),
        settings={"operator.redrives": 1, "retry.attempts_max": 2},
    ),
    Bundle(
        faults=(*_LATE_CANCEL, "svc.refuse_refund{} first=1"),
        settings={"operator.redrives": 1},
    ),
    # A payment that nobody knows of, and a card that is declined when somebody asks again.
    Bundle(
        faults=("svc.timeout@payment_gateway{} first=2",),
        settings={
            "operator.redrives": 1,
            "retry.attempts_max": 2,
            "payment.declined_percent": 50,
        },
    ),
    # Every retry topic: of mails about rejected or declined orders, of a refund, of a confirmation.
    Bundle(
        faults=(
            "svc.error@mailer{} nth=2",
            "svc.error@mailer{} nth=3",
            "svc.error@mailer{} nth=4",
        ),
        settings=_MANY_REFUSED,
        in_virtual_time=_SHORT_TIERS,
    ),
    Bundle(
        faults=(
            *_LATE_CANCEL,
            "svc.error@payment_gateway{} nth=3",
            "svc.error@payment_gateway{} nth=4",
            "svc.error@payment_gateway{} nth=5",
        ),
        in_virtual_time=_SHORT_TIERS,
    ),
    Bundle(
        # The visits in between are those that park the event.
        faults=tuple(f"pg.serialization@orders{{}} nth={nth}" for nth in (2, 5, 9)),
        in_virtual_time=_SHORT_TIERS,
    ),
    Bundle(
        faults=("pg.serialization@orders rate=0.5",),
        settings={"retry.attempts_max": 9},
        in_virtual_time=_SHORT_TIERS,
    ),
    Bundle(faults=("svc.error@warehouse{} first=3",), in_virtual_time=_SHORT_TIERS),
    # Dead letters of every topic that a group reads, and back.
    Bundle(
        faults=("pg.serialization@orders{} nth=2",),
        settings={"retry.attempts_max": 1, "operator.redrives": 1},
    ),
    Bundle(
        faults=("svc.error@mailer{} nth=2 status=400",),
        settings={**_MANY_REFUSED, "operator.redrives": 1},
    ),
    # Garbage in the events that few orders have, or that few faults meet.
    Bundle(
        faults=(
            "bus.poison@PaymentCaptured{}",
            "client.cancel rate=0.5 after=20ms..200ms",
            "bus.poison@OrderCancelled{}",
        ),
        settings={"operator.redrives": 1},
    ),
    Bundle(
        faults=("bus.poison@OrderRejected{}", "bus.poison@PaymentDeclined{}"),
        settings=_MANY_REFUSED,
    ),
    Bundle(
        faults=(
            *_LATE_CANCEL,
            "bus.poison@RefundRequested{} rate=0.1",
            "bus.poison@PaymentRefunded{}",
        )
    ),
    Bundle(
        faults=("svc.slow@warehouse{} first=1 by=1500ms", "bus.poison@OrderExpired{}"),
        settings={"orders.expiry_ms": 400},
    ),
    # A client that gives up while its request is under way.
    Bundle(
        faults=("pg.slow@api{} rate=1 by=1300ms",),
        in_virtual_time={"client.timeout_ms": 1_000},
    ),
    # A stop and a crash with one attempt left.
    Bundle(
        faults=(
            "svc.error@payment_gateway{} first=1",
            "svc.slow@payment_gateway{} nth=2 by=1800ms",
            "proc.term@payment at=1200ms",
        ),
        settings={"retry.attempts_max": 2},
    ),
    Bundle(
        faults=(
            "svc.error@payment_gateway{} first=1",
            "proc.crash@handler.before_commit{} nth=3",
        ),
        settings={"retry.attempts_max": 2},
    ),
    # Publishes whose answer is lost, some of them appended and some not; of a dead letter too.
    Bundle(
        faults=(
            "svc.error@mailer{} first=1 status=400",
            "bus.publish_unknown@dlq{} first=1",
            "bus.publish_unknown@dlq{} nth=2 appended=no",
        )
    ),
    Bundle(
        faults=(
            "bus.publish_unknown{} first=1 appended=no",
            "bus.publish_unknown rate=0.1",
        )
    ),
)
"""A seed that draws one takes that of its number: over many seeds each has its turn."""
