"""Looks on at one member of a group: it says so when a record stands at the head for too long.

A record may be given back again and again without an attempt, for a reason that nobody has thought
of: its partition goes no further, while the process lives and answers. Not here: the reasons that
are known, each of which has its own line.
"""

from typing import Final

from lab.bus.loop.delivery import DeliveryLoop
from lab.ports.bus import TopicPartition
from lab.ports.clock import Clock
from lab.ports.usable import Usable
from lab.stores.reachability import Tell

LOOK_US: Final = 5_000_000
STUCK_US: Final = 120_000_000
"""Longer than a run of a handler with all its attempts in place, and a redelivery, may take."""


class ProgressWatch(Usable):
    """The onlooker of one subscription.

    Args:
        loop: the subscription.
        group: its group.
        clock: of the process.
        tell: hears of a partition that goes no further, once, and when it goes on.
    """

    def __init__(self, loop: DeliveryLoop, group: str, clock: Clock, tell: Tell) -> None:
        self._loop = loop
        self._group = group
        self._clock = clock
        self._tell = tell
        self._since: dict[TopicPartition, tuple[int, int]] = {}
        self._stuck: dict[TopicPartition, int] = {}

    def why_not(self) -> str:
        if not self._stuck:
            return ""
        place, offset = next(iter(self._stuck.items()))
        return f"{_named(place)} goes no further than offset {offset}"

    def oldest_us(self) -> int:
        """For how long the record has stood that stands longest at the head of its partition."""
        now_us = self._clock.now_us()
        return max((now_us - since_us for _, since_us in self._since.values()), default=0)

    async def run(self) -> None:
        """Look, again and again; never returns."""
        while True:
            await self._clock.sleep_us(LOOK_US)
            self.look()

    def look(self) -> None:
        """Compare with the last look. A pause of the whole subscription is no standing still."""
        now_us, heads = self._clock.now_us(), self._loop.heads
        if self._loop.is_paused:
            heads = {}
        self._since = {
            place: seen
            if (seen := self._since.get(place, (-1, 0)))[0] == offset
            else (offset, now_us)
            for place, offset in heads.items()
        }
        stuck = {
            place: offset
            for place, (offset, since_us) in self._since.items()
            if now_us - since_us >= STUCK_US
        }
        for place, offset in stuck.items():
            if place not in self._stuck:
                waits = f"has waited for {STUCK_US // 1_000_000} s at offset {offset}"
                self._tell("warning", f"stuck: group {self._group}, {_named(place)} {waits}")
        for place in self._stuck.keys() - stuck.keys():
            self._tell("info", f"no longer stuck: group {self._group}, {_named(place)}")
        self._stuck = stuck


def _named(place: TopicPartition) -> str:
    return f"topic {place.topic}, partition {place.partition}"
