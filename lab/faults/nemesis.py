"""The nemesis: begins the faults, strikes processes by the plan's timetable, and ends it all.

Not here: what becomes of a process that was struck; the supervisor starts it again.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from lab.faults.plan import FaultPlan, Firing


class Timer(Protocol):
    """A timer that was set."""

    def cancel(self) -> None:
        """Drop it."""
        ...


class Timers(Protocol):
    """The loop of the supervisor."""

    def call_after_us(
        self, delay_us: int, callback: Callable[[Firing], object], firing: Firing, /
    ) -> Timer:
        """Run `callback(firing)` in `delay_us` from now."""
        ...


class Nemesis:
    """Times the faults of one run.

    Args:
        crash, term: of the supervisor; take a group, `api` or `relay` (all its members), or one
            member such as `payment-2`. They return at once.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        timers: Timers,
        crash: Callable[[str], object],
        term: Callable[[str], object],
    ) -> None:
        self._plan = plan
        self._timers = timers
        self._strikes = {"proc.crash": crash, "proc.term": term}
        self._armed: list[Timer] = []

    def begin(self) -> None:
        """From now on faults fire; one timer for each entry of the timetable."""
        self._plan.begin()
        for firing in self._plan.timetable():
            self._armed.append(self._timers.call_after_us(firing.t_us, self._strike, firing))

    def heal(self) -> None:
        """End all faults; what was not reached yet does not come. Idempotent."""
        self._plan.heal()
        for timer in self._armed:
            timer.cancel()
        self._armed.clear()

    def _strike(self, firing: Firing) -> None:
        self._plan.record(msgspec.structs.replace(firing, t_us=self._plan.now_us()))
        self._strikes[firing.kind](firing.site)
