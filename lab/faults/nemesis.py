"""The nemesis: begins the faults, strikes processes and servers by the timetable, ends it all.

Not here: striking a process or a server, which is the task of the world.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from lab.faults.clock import CLOCK_KINDS
from lab.faults.plan.plan import FaultPlan, Firing
from lab.ports.clock import Timer


class NemesisTimers(Protocol):
    """The loop of the supervisor."""

    def call_after_us(
        self, delay_us: int, callback: Callable[[Firing], object], firing: Firing, /
    ) -> Timer:
        """Run `callback(firing)` in `delay_us` from now."""
        ...


Strike = Callable[[str, str, Firing], object]
"""`strike(kind, site, firing)` of the world; returns at once."""


class Nemesis:
    """Times the faults of one run.

    Args:
        begin: strikes a process or a server, the site. A site `payment`, `api` or `relay` stands
            for all members, `payment-2` for one. A firing that lasts has its length in parameter
            `for`, in microseconds. Called once for each firing, also while another of the same
            kind and site is under way.
        end: ends the effect of `begin`, when the last firing of that kind and site is over.
    """

    def __init__(
        self, plan: FaultPlan, *, timers: NemesisTimers, begin: Strike, end: Strike
    ) -> None:
        self._plan = plan
        self._timers = timers
        self._begin = begin
        self._end = end
        self._armed: list[Timer] = []
        self._under_way: dict[tuple[str, str], list[Firing]] = {}

    def begin(self) -> None:
        """From now on faults fire; each entry of the timetable gets a timer."""
        self._plan.begin()
        for firing in self._plan.timetable():
            if firing.kind in CLOCK_KINDS and not firing.t_us:
                # A clock that is wrong from the start is wrong before its first reading.
                self._strike(firing)
            else:
                self._armed.append(self._timers.call_after_us(firing.t_us, self._strike, firing))

    def heal(self) -> None:
        """End all faults; those that are still to come do not come. Idempotent."""
        self._plan.heal()
        for timer in self._armed:
            timer.cancel()
        self._armed.clear()
        for (kind, site), firings in self._under_way.items():
            self._plan.record_end(firings[-1])
            self._end(kind, site, firings[-1])
        self._under_way.clear()

    def _strike(self, firing: Firing) -> None:
        now = msgspec.structs.replace(firing, t_us=self._plan.now_us())
        self._plan.record(now)
        if "for" in now.params:
            self._under_way.setdefault((now.kind, now.site), []).append(now)
            end = self._timers.call_after_us(now.number("for"), self._over, now)
            self._armed.append(end)
        self._begin(now.kind, now.site, now)

    def _over(self, firing: Firing) -> None:
        key = (firing.kind, firing.site)
        under_way = self._under_way[key]
        under_way.remove(firing)
        if not under_way:
            del self._under_way[key]
            self._plan.record_end(firing)
            self._end(*key, firing)
