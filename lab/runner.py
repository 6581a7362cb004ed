"""One run in any world: faults while the load lasts, then heal, drain and the last look.

Not here: the world itself (`lab.wiring`), the promises (`lab.checks`), and the page
(`lab.report`, `lab.cli`).
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from lab.history.recorder import Write
from lab.ports.clock import Clock
from lab.scenarios.client import Client
from lab.scenarios.workload import PlannedOrder

Progress = Callable[[int, int, str], None]
"""`progress(orders placed, orders in all or 0, phase)`; called now and then."""

_LOOK_US: Final = 100_000
_PROGRESS_EVERY: Final = 200


class World(Protocol):
    """The world that a run drives."""

    write: Write

    @property
    def clock(self) -> Clock:
        """The clock of the run."""
        ...

    @property
    def client(self) -> Client:
        """Posts the orders."""
        ...

    async def start(self) -> None:
        """Start every process and return when they are ready."""
        ...

    def spawn(self, call: Coroutine[Any, Any, None]) -> None:
        """Run `call` beside the others, outside of every process of the lab."""
        ...

    async def heal(self) -> None:
        """End all faults; those that were to come later never come."""
        ...

    async def is_drained(self) -> bool:
        """Nothing that was accepted waits for anything but a person."""
        ...

    def strikes_until_us(self) -> int:
        """When the last fault comes or ends that has a time; 0 if there is none."""
        ...

    async def note_what_is_left(self) -> None:
        """Write the facts about everything still owed, locked or leased into the history."""
        ...

    async def stop(self) -> None:
        """End every process, as gently as the patterns in use allow."""
        ...


class Operator(Protocol):
    """The person who looks after dead letters.

    Attributes:
        every_us: how often that is while faults last, 0 for never.
    """

    every_us: int

    async def look(self, *, is_last: bool) -> bool:
        """Do the work that there is; False if there was none. `is_last`: the faults are over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How long the phases of a run may take; microseconds.

    Attributes:
        tail_us: faults go on for so long after the last order was posted, or until all is quiet.
        drain_us: after heal, the last order has so long to come to its end; so have the redriven
            events after each round of the operator.
    """

    tail_us: int
    drain_us: int


async def drive(
    world: World,
    orders: Iterator[PlannedOrder],
    *,
    total: int,
    limits: RunLimits,
    operator: Operator | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the phases of one experiment to their end.

    Args:
        world: made, not started.
        orders: the load, in order of arrival.
        total: how many there will be, 0 if nobody knows; only for `progress`.
        limits: see `RunLimits`.
        operator: looks after dead letters; None: nobody does.
        progress: told how far it is.
    """
    tell = progress or (lambda _done, _total, _phase: None)
    now_us = world.clock.now_us
    phase = _Phases(world)
    phase("faults")
    await world.start()
    load = _Load(world)
    rounds = _Rounds(world, operator)
    await load.place_all(orders, total=total, tell=tell)
    # Every firing of the timetable comes, also after an early last order.
    struck_us = world.strikes_until_us()

    async def is_quiet() -> bool:
        return now_us() > struck_us and load.is_answered and await world.is_drained()

    await _until(world, is_quiet, max(now_us(), struck_us) + limits.tail_us)
    tell(load.placed, total, "heal")
    phase("heal")
    await world.heal()
    rounds.is_over = True
    deadline_us = now_us() + limits.drain_us
    phase("drain")
    tell(load.placed, total, "drain")
    await _until(world, is_quiet, deadline_us)
    # A redriven event has as long as the load had. That ends: none is sent back many times.
    while operator is not None and now_us() < deadline_us and await operator.look(is_last=True):
        await world.clock.sleep_us(_LOOK_US)
        deadline_us = now_us() + limits.drain_us
        await _until(world, is_quiet, deadline_us)
    world.client.give_up()
    await world.stop()
    await world.note_what_is_left()
    phase("end")
    tell(load.placed, total, "end")


class _Phases:
    """Writes the begin of each phase into the history."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, name: str) -> None:
        self._world.write(("phase", self._world.clock.now_us(), "run", "", name))


class _Rounds:
    """Lets the operator look now and then, until heal."""

    def __init__(self, world: World, operator: Operator | None) -> None:
        self.is_over = False
        if operator is not None and operator.every_us:
            world.spawn(self._look(world, operator))

    async def _look(self, world: World, operator: Operator) -> None:
        while not self.is_over:
            await world.clock.sleep_us(operator.every_us)
            if not self.is_over:
                await operator.look(is_last=False)


class _Load:
    """Posts every order at its time and knows how many wait for their answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._unanswered = 0
        self.placed = 0

    @property
    def is_answered(self) -> bool:
        """Whether nobody waits for an answer, or for the time to cancel, any more."""
        return self._unanswered == 0

    async def place_all(
        self, orders: Iterator[PlannedOrder], *, total: int, tell: Progress
    ) -> None:
        """Post all orders; returns when the last one was posted, answered or not."""
        world = self._world
        start_us = world.clock.now_us()
        for order in orders:
            wait_us = start_us + order.at_us - world.clock.now_us()
            if wait_us > 0:
                await world.clock.sleep_us(wait_us)
            self._unanswered += 1
            world.spawn(self._place(order))
            self.placed += 1
            if self.placed % _PROGRESS_EVERY == 0:
                tell(self.placed, total, "load")

    async def _place(self, order: PlannedOrder) -> None:
        try:
            await self._world.client.place(order)
        finally:
            self._unanswered -= 1


async def _until(world: World, condition: Callable[[], Awaitable[bool]], deadline_us: int) -> None:
    """Wait for `condition`, looking ten times a second of the run, until `deadline_us` at most."""
    while not await condition():
        left_us = deadline_us - world.clock.now_us()
        if left_us <= 0:
            return
        await world.clock.sleep_us(min(_LOOK_US, left_us))
