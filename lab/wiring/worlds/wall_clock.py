"""A run on the wall clock in one process: in memory, or with a real bus, store or dedupe store.

The processes are groups of tasks that are killed as simulated ones are; only time passes by itself.
Not here: processes of the operating system (`real_run`).
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from lab.history.entries import Entry
from lab.history.journal import merged
from lab.history.recorder import Recorder
from lab.observe.ecs import quiet_libraries
from lab.report.run_folder import RunFolder
from lab.runner import Limits, Progress, drive
from lab.runtime.chance import Chance
from lab.runtime.wall_loop import WallScheduler
from lab.scenarios.buyers import customers_of
from lab.scenarios.workload import Workload
from lab.settings import environment
from lab.wiring.backends.interface import (
    Backend,
    Backends,
    not_removed,
    remove,
    telling_what_is_left,
)
from lab.wiring.backends.memory_servers import is_blocked
from lab.wiring.backends.readiness import addresses
from lab.wiring.backends.real import KafkaBackend, PostgresBackend, RedisBackend, Where
from lab.wiring.judging import Sinks
from lab.wiring.outcome import End, Ran
from lab.wiring.spec import TAIL_US, RunSpec
from lab.wiring.worlds.real_process import LATE_US, TICK_US
from lab.wiring.worlds.simulated import SimulatedWorld


def run_live(
    spec: RunSpec,
    workload: Workload,
    load: Callable[[], Workload],
    *,
    folder: RunFolder | None = None,
    on_progress: Progress | None = None,
) -> Ran:
    """Run on the wall clock to the end of the drain, or to Ctrl-C.

    Args:
        spec: what is to be run.
        workload: its orders.
        load: makes them once more, to look who orders.
        folder: takes the history file.
        on_progress: see `run`.

    Raises:
        EnvironmentNotReady: a server is not there, or not fit for use.
    """
    quiet_libraries()
    sinks, entries = Sinks(spec, folder), list[Entry]()
    scheduler = WallScheduler()
    real = _RealParts(spec, scheduler, load)
    world = SimulatedWorld(spec, write=entries.append, scheduler=scheduler, replace=real.put_in)
    began_ns = time.perf_counter_ns()
    is_partial = False
    with telling_what_is_left(real.name, real.left):
        try:
            end, facts = scheduler.run(_whole_run(world, real, workload, on_progress))
        except KeyboardInterrupt:
            is_partial = True
            end, facts = asyncio.run(_after_all(world, real))
    world.raise_errors()
    recorder = Recorder(sinks.all)
    for entry in merged([entries, *facts]):
        recorder.write(entry)
    recorder.flush()
    findings = sinks.checker.findings()
    if sinks.file is not None:
        sinks.file.close()
    world.close()
    return Ran(
        spec=spec,
        workload=workload,
        tally=world.client.tally,
        end=end,
        plan=world.plan,
        checker=sinks.checker,
        findings=findings,
        digest="",
        entries=recorder.count,
        wall_ms=(time.perf_counter_ns() - began_ns) // 1_000_000,
        is_partial=is_partial,
        kept=real.kept,
        left=not_removed(real.name, real.left),
    )


class _RealParts:
    """The real backends of a run, each in the place of one in memory."""

    def __init__(
        self, spec: RunSpec, scheduler: WallScheduler, load: Callable[[], Workload]
    ) -> None:
        at = addresses(environment())
        self._where = Where(
            name=f"lab_{secrets.token_hex(5)}",
            postgres_dsn=at["POSTGRES_DSN"],
            redis_url=at["REDIS_URL"],
            kafka_bootstrap=at["KAFKA_BOOTSTRAP"],
        )
        self._spec = spec
        self._epoch_us = scheduler.root.wall_us() - scheduler.root.now_us()
        self._load = load
        self._memory: Backends | None = None
        self.keep = spec.makes.keep
        self.left: list[str] = []

    def put_in(self, backends: Backends) -> Backends:
        """The backends of the run."""
        self._memory = backends
        makes, settings, where = self._spec.makes, self._spec.settings, self._where
        if makes.bus == "kafka":
            bus = KafkaBackend(where, settings, epoch_us=self._epoch_us)
            backends = replace(backends, bus=bus)
        if makes.store == "postgres":
            store = PostgresBackend(where, settings, epoch_us=self._epoch_us, blocked=self._blocked)
            backends = replace(backends, store=store)
        if makes.dedupe == "redis":
            fencing = "fencing" not in self._spec.off
            backends = replace(backends, dedupe=RedisBackend(where, compares_fences=fencing))
        return backends

    @property
    def name(self) -> str:
        """Of the run on the servers."""
        return self._where.name

    @property
    def kept(self) -> str | None:
        """The run's name on the servers, if anything of it stays there."""
        makes = self._spec.makes
        is_real = (makes.bus, makes.store, makes.dedupe) != ("memory", "memory", "memory")
        return self._where.name if makes.keep and is_real else None

    def again(self) -> Backends:
        """The same with connections of their own: those of a loop that has ended are of no use."""
        assert self._memory is not None
        return self.put_in(self._memory)

    def _blocked(self) -> list[str]:
        chance, settings = Chance(self._spec.seed), self._spec.settings
        return [one for one in customers_of(self._load()) if is_blocked(settings, chance, one)]


async def _whole_run(
    world: SimulatedWorld, real: _RealParts, workload: Workload, on_progress: Progress | None
) -> tuple[End, list[list[Entry]]]:
    """All phases of a run between making its parts and removing them."""
    limits = Limits(tail_us=TAIL_US, drain_us=world.spec.settings.us("run.drain_ms"))
    async with AsyncExitStack() as stack:
        for backend in world.backends.all:
            await _prepare(backend, stack, real)
        world.spawn(_watch_stalls(world))
        total = workload.total or 0
        await drive(
            world,
            iter(workload),
            total=total,
            limits=limits,
            operator=world.operator,
            progress=on_progress,
        )
        world.halt()
        return await world.look(), await _facts(world.backends)


async def _watch_stalls(world: SimulatedWorld) -> None:
    """Write down when this process stood still, and with it every process of the lab."""
    clock = world.clock
    while True:
        due_us = clock.now_us() + TICK_US
        await clock.sleep_us(TICK_US)
        now_us = clock.now_us()
        if now_us - due_us > LATE_US:
            for member in world.members:
                if member.loop is not None:
                    world.write(("stalled", now_us, member.loop.name, "", now_us - due_us))


async def _after_all(world: SimulatedWorld, real: _RealParts) -> tuple[End, list[list[Entry]]]:
    """What is left of a run that was interrupted; removes it."""
    backends = real.again()
    async with AsyncExitStack() as stack:
        for backend in backends.all:
            await _prepare(backend, stack, real)
        end = End(
            survey=await backends.store.survey(),
            owed=await backends.owed(),
            now_us=world.now_us(),
            epoch_us=world.scheduler.root.wall_us() - world.scheduler.root.now_us(),
        )
        return end, await _facts(backends)


async def _prepare(backend: Backend, stack: AsyncExitStack, real: _RealParts) -> None:
    await backend.prepare(stack)
    if not real.keep:
        stack.push_async_callback(remove, backend, real.left)


async def _facts(backends: Backends) -> list[list[Entry]]:
    return [[entry async for entry in backend.facts()] for backend in backends.all]
