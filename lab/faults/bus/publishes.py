"""Faults of publishes: a publish is lost, or its answer is.

A call may carry many records. Each tosses its coin in the first call that carries it; a call that
is repeated unchanged tosses the coin of its first record. Otherwise a large batch would be struck
again at every repetition, and never come through. Records of no order are left alone.

Not here: a process that reaches no broker (`member.py`), and garbage (`records.py`).
"""

from collections.abc import Sequence
from typing import Final

from lab.domain.envelope import H_ID, H_SUBJECT, header, text_header
from lab.domain.errors import Indeterminate, Transient
from lab.domain.events import TOPICS
from lab.faults.plan.plan import FaultPlan, Firing, Site
from lab.faults.table.bus import DLQ, PUBLISHED_TO, RETRY
from lab.ports.bus import Outgoing, Publisher
from lab.ports.clock import Clock

DROP: Final = "bus.drop_publish"
UNKNOWN: Final = "bus.publish_unknown"
_REMEMBERED: Final = 10_000

Name = tuple[str, bytes]


class DroppingPublisher(Publisher):
    """`bus.drop_publish`: nothing of a call is appended, and the publisher is told so.

    With `told=no` the publisher is not told: the log lacks the records whose coins fired, the
    others are appended, and the call succeeds.
    """

    def __init__(self, inner: Publisher, *, plan: FaultPlan, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._coins = _Coins(plan, DROP)
        self._lost: dict[Name, None] = {}

    async def publish(self, records: Sequence[Outgoing]) -> None:
        is_told = False
        for record, site, firing in self._coins.toss(records):
            site.strike(firing)
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
    """`bus.publish_unknown`: everything is appended, and the publisher never learns it.

    With `appended=no` nothing of the call is, and the publisher does not learn that either.
    """

    def __init__(self, inner: Publisher, *, plan: FaultPlan, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._coins = _Coins(plan, UNKNOWN)
        # Coins of calls that the broker refused: no answer was lost yet.
        self._owed: dict[Name, tuple[Site, Firing]] = {}

    async def publish(self, records: Sequence[Outgoing]) -> None:
        lost = self._lost(records)
        is_appended = all(firing.params.get("appended") != "no" for _, firing in lost.values())
        if is_appended:
            try:
                await self._inner.publish(records)
            except Transient:
                self._owed.update(lost)
                raise
        else:
            await self._clock.sleep_us(0)
        for site, firing in lost.values():
            site.strike(firing)
        if lost:
            raise Indeterminate("publish: the answer was lost")
        self._coins.succeeded(records)

    def _lost(self, records: Sequence[Outgoing]) -> dict[Name, tuple[Site, Firing]]:
        """The coins that ask for a firing, of this call and of those that the broker refused."""
        lost = {_name_of(one): (site, firing) for one, site, firing in self._coins.toss(records)}
        owed = self._owed
        for name in map(_name_of, records):
            kept = owed.pop(name, None)
            if kept is not None and kept[0].is_active:
                lost[name] = kept
        if len(owed) > _REMEMBERED:
            owed.clear()
        return lost


class _Coins:
    """The coins of one kind, over the calls of one publisher."""

    def __init__(self, plan: FaultPlan, kind: str) -> None:
        self._sites = {name: plan.at(kind, name) for name in PUBLISHED_TO if plan.wants(kind, name)}
        self._tossed: dict[Name, None] = {}

    def toss(self, records: Sequence[Outgoing]) -> list[tuple[Outgoing, Site, Firing]]:
        """The records of a call whose coins ask for a firing; `Site.strike` records it."""
        tossed = self._tossed
        fired = []
        for record in [one for one in records if _name_of(one) not in tossed] or records[:1]:
            site, subject = (
                self._sites.get(_site_of(record.topic)),
                text_header(record.headers, H_SUBJECT),
            )
            firing = site.tosses(subject) if site is not None and subject else None
            if site is not None and firing is not None:
                fired.append((record, site, firing))
        if len(tossed) > _REMEMBERED:
            # Those that are left belong to calls that were not repeated.
            tossed.clear()
        tossed.update(dict.fromkeys(map(_name_of, records)))
        return fired

    def succeeded(self, records: Sequence[Outgoing]) -> None:
        """The call came through: publishing these records again is another call."""
        for record in records:
            self._tossed.pop(_name_of(record), None)


def _name_of(record: Outgoing) -> Name:
    return record.topic, header(record.headers, H_ID) or record.key


def _site_of(topic: str) -> str:
    return topic if topic in TOPICS else DLQ if topic.endswith(".dlq") else RETRY
