"""Faults of clocks: a process's wall clock is wrong. Monotonic time and database time are not.

A clock that has become wrong stays wrong after the end of the faults, so all that trusts the time
of day must come to its end all the same.

Not here: the time at which a fault strikes (`plan/`).
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from lab.faults.plan.plan import Firing
from lab.faults.table.spec import FaultSpec
from lab.ports.clock import Clock

CLOCK_KINDS: Final = ("clock.skew", "clock.jump")


class Step(NamedTuple):
    """From `at_us` (monotonic time) on, the wall clock is `by_us` further ahead."""

    at_us: int
    by_us: int


class SteppedClock:
    """A `Clock` whose wall time is wrong by every step that has come.

    Args:
        inner: the clock that is right.
        steps: instants are of its monotonic time.
    """

    def __init__(self, inner: Clock, steps: Sequence[Step]) -> None:
        self.now_us = inner.now_us
        self.sleep_us = inner.sleep_us
        self._right_us = inner.wall_us
        self._steps = tuple(steps)

    def wall_us(self) -> int:
        """See `Clock`."""
        now_us = self.now_us()
        return self._right_us() + sum(by_us for at_us, by_us in self._steps if at_us <= now_us)


def steps_of(
    timetable: Iterable[Firing], *, member: str, group: str, began_us: int, started_us: int
) -> tuple[Step, ...]:
    """What goes wrong with the clock of one process life.

    Args:
        timetable: of the plan.
        member: the process, such as `payment-1`.
        group: its group, `api` or `relay`.
        began_us: when the faults began, on the process's monotonic clock.
        started_us: when the life began, on the same clock.
    """
    steps = []
    for firing in timetable:
        if firing.kind not in CLOCK_KINDS or firing.site not in (member, group):
            continue
        at_us = began_us + firing.t_us
        if firing.kind == "clock.jump" or at_us <= started_us:
            steps.append(Step(at_us, firing.number("by")))
    return tuple(steps)


def wrong_by_us(specs: Iterable[FaultSpec]) -> int:
    """How far two clocks of a run can be apart, and one can jump: what a not-before may miss."""
    return sum(abs(spec.number("by")) for spec in specs if spec.kind in CLOCK_KINDS)
