"""Faults of publishes: a publish is lost, or its answer is.

A call may carry many records. Each tosses its coin in the first call that carries it; a call that
is repeated unchanged tosses the coin of its first record. Otherwise a large batch would be struck
again at every repetition, and never come through. Records of no order are left alone.

Not here: a process that reaches no broker (`member.py`), and garbage (`records.py`).
"""

from collections.abc import Sequence
from typing import Final

from lab.domain.envelope import H_ID, header
from lab.domain.errors import Indeterminate, Transient
from lab.domain.events import TOPICS
from lab.faults.bus.wrappers import subject_of
from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.table.bus import DLQ, PUBLISHED_TO, RETRY
from lab.ports.bus import Outgoing, Publisher
from lab.ports.clock import Clock

DROP: Final = "bus.drop_publish"
UNKNOWN: Final = "bus.publish_unknown"
_REMEMBERED: Final = 10_000

Name = tuple[str, bytes]


class DroppingPublisher(Publisher):
    """`bus.drop_publish`: nothing of a call is appended, and the publisher is told so.

    With `told=no` it is not: the records whose coins fired are missing from the log, the others are
    appended, and the call succeeds.
    """

    def __init__(self, inner: Publisher, *, plan: FaultPlan, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._coins = _Coins(plan, DROP)
        self._lost: dict[Name, None] = {}

    async def publish(self, records: Sequence[Outgoing]) -> None:
        is_told = False
        for record, firing in self._coins.toss(records):
            if firing.params["told"] == "no":
                self._lost[_name_of(record)] = None
            else:
                is_told = True
        await self._clock.sleep_us(0)
        if is_told:
            raise Transient("publish: the broker was not reached")
        sent = [record for record in records if _name_of(record) not in self._lost]
        if sent:
            await self._inner.publish(sent)
        self._coins.succeeded(records)
        for record in records:
            self._lost.pop(_name_of(record), None)


class ForgettingPublisher(Publisher):
    """`bus.publish_unknown`: everything is appended, and the publisher never learns it."""

    def __init__(self, inner: Publisher, *, plan: FaultPlan) -> None:
        self._inner = inner
        self._coins = _Coins(plan, UNKNOWN)

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._inner.publish(records)
        if self._coins.toss(records):
            raise Indeterminate("publish: the answer was lost")
        self._coins.succeeded(records)


class _Coins:
    """The coins of one kind, over the calls of one publisher."""

    def __init__(self, plan: FaultPlan, kind: str) -> None:
        self._sites = {name: plan.at(kind, name) for name in PUBLISHED_TO if plan.wants(kind, name)}
        self._tossed: dict[Name, None] = {}

    def toss(self, records: Sequence[Outgoing]) -> list[tuple[Outgoing, Firing]]:
        """The records of a call whose coins fired, with the recorded firings."""
        tossed = self._tossed
        fired = []
        for record in [one for one in records if _name_of(one) not in tossed] or records[:1]:
            site, subject = self._sites.get(_site_of(record.topic)), subject_of(record.headers)
            firing = site.fires(subject) if site is not None and subject else None
            if firing is not None:
                fired.append((record, firing))
        if len(tossed) > _REMEMBERED:
            # Of calls that nobody repeated.
            tossed.clear()
        tossed.update(dict.fromkeys(map(_name_of, records)))
        return fired

    def succeeded(self, records: Sequence[Outgoing]) -> None:
        """The call came through: whoever publishes these again makes another one."""
        for record in records:
            self._tossed.pop(_name_of(record), None)


def _name_of(record: Outgoing) -> Name:
    return record.topic, header(record.headers, H_ID) or record.key


def _site_of(topic: str) -> str:
    return topic if topic in TOPICS else DLQ if topic.endswith(".dlq") else RETRY
