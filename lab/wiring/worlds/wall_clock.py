"""A run on the wall clock in one process: in memory, or with a real bus, store or dedupe store.

The processes are groups of tasks that are killed as simulated ones are; only time passes by itself.
Not here: processes of the operating system (`real_run`).
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from functools import partial

from lab.bus.kafka.security import KafkaSecurity, security_of
from lab.history.entries import Entry
from lab.history.journal import merged
from lab.observe.ecs import quiet_libraries
from lab.report.run_folder import RunFolder
from lab.runner import Progress
from lab.runtime.wall_loop import WallScheduler
from lab.scenarios.workload import Workload
from lab.settings import environment
from lab.wiring.backends.interface import (
    Backend,
    Backends,
    not_removed,
    remove,
    telling_what_is_left,
)
from lab.wiring.backends.real import KafkaBackend, PostgresBackend, Where
from lab.wiring.backends.redis_claims import RedisBackend
from lab.wiring.outcome import End, Ran
from lab.wiring.policy import Policy
from lab.wiring.spec import RunSpec
from lab.wiring.workload import blocked_customers
from lab.wiring.worlds.driving import RunRecord, drive_to_end
from lab.wiring.worlds.run_lock import holding, new_run_lock
from lab.wiring.worlds.simulated import SimulatedWorld
from lab.wiring.worlds.stall_watch import write_stalls


def run_live(
    spec: RunSpec,
    workload: Workload,
    *,
    folder: RunFolder | None = None,
    on_progress: Progress | None = None,
) -> Ran:
    """Run on the wall clock to the end of the drain, or to Ctrl-C.

    Args:
        spec: of the run.
        workload: its orders.
        folder: takes the history file.
        on_progress: see `lab.run`.

    Raises:
        EnvironmentNotReady: a server is not there, or not fit for use.
        SimulationError: a mistake of the lab's own.
    """
    quiet_libraries()
    record, entries = RunRecord(spec, workload, folder=folder), list[Entry]()
    scheduler = WallScheduler()
    real = _RealParts(spec, scheduler)
    world = SimulatedWorld(spec, write=entries.append, scheduler=scheduler, replace=real.put_in)
    record.begin()
    is_partial = False
    with real.holding(), telling_what_is_left(real.name, real.left):
        try:
            end, facts = scheduler.run(_whole_run(world, real, workload, on_progress))
        except KeyboardInterrupt:
            is_partial = True
            end, facts = asyncio.run(_after_all(world, real))
    world.raise_errors()
    record.take(merged([entries, *facts]))
    record.judge()
    world.close()
    return record.ran(
        world,
        end,
        is_partial=is_partial,
        kept=real.kept,
        left=not_removed(real.name, real.left),
    )


class _RealParts:
    """The real backends of a run, each in the place of one in memory."""

    def __init__(self, spec: RunSpec, scheduler: WallScheduler) -> None:
        has_kafka = spec.world.bus == "kafka"
        self.lock = new_run_lock(
            kafka=has_kafka,
            postgres=spec.world.store == "postgres",
            redis=spec.world.dedupe == "redis",
        )
        self._where = Where(
            name=self.lock.name,
            postgres_dsn=self.lock.postgres_dsn,
            redis_url=self.lock.redis_url,
            kafka_bootstrap=self.lock.kafka_bootstrap,
            kafka_security=security_of(environment()) if has_kafka else KafkaSecurity(),
        )
        self._spec = spec
        self._epoch_us = scheduler.root.wall_us() - scheduler.root.now_us()
        self._given: tuple[Backends, Policy] | None = None
        self.keep = spec.world.keep
        self.left: list[str] = []

    def put_in(self, backends: Backends, policy: Policy) -> Backends:
        """The backends of the run."""
        self._given = backends, policy
        world, settings, where = self._spec.world, self._spec.settings, self._where
        if world.bus == "kafka":
            bus = KafkaBackend(where, settings, epoch_us=self._epoch_us)
            backends = replace(backends, bus=bus)
        if world.store == "postgres":
            store = PostgresBackend(
                where,
                settings,
                epoch_us=self._epoch_us,
                blocked=partial(blocked_customers, self._spec),
            )
            backends = replace(backends, store=store)
        if world.dedupe == "redis":
            redis = RedisBackend(
                where.redis_url, where.name, compares_fences=policy.compares_fences
            )
            backends = replace(backends, dedupe=redis)
        return backends

    @property
    def name(self) -> str:
        """Of the run on the servers."""
        return self._where.name

    def holding(self) -> AbstractContextManager[object]:
        """Holds its lock on servers in a block, if it uses any."""
        return nullcontext() if self._spec.world.is_in_memory else holding(self.lock, self.left)

    @property
    def kept(self) -> str | None:
        """The run's name on the servers, if anything of it stays there."""
        world = self._spec.world
        return self._where.name if world.keep and not world.is_in_memory else None

    def again(self) -> Backends:
        """The same with connections of their own: those of a loop that has ended are of no use."""
        assert self._given is not None
        return self.put_in(*self._given)


async def _whole_run(
    world: SimulatedWorld, real: _RealParts, workload: Workload, on_progress: Progress | None
) -> tuple[End, list[list[Entry]]]:
    """All phases of a run between making its parts and removing them."""
    async with AsyncExitStack() as stack:
        for backend in world.backends.all:
            await _prepare(backend, stack, real)
        world.spawn(write_stalls(world.clock, world.write, lambda: _alive(world)))
        await drive_to_end(world, workload, on_progress)
        world.halt()
        return await world.look(), await _facts(world.backends)


def _alive(world: SimulatedWorld) -> Iterator[str]:
    """Every process of the lab: all of them stand still when this one does."""
    return (member.loop.name for member in world.members if member.loop is not None)


async def _after_all(world: SimulatedWorld, real: _RealParts) -> tuple[End, list[list[Entry]]]:
    """The end and the facts of a run that was interrupted; its things are removed."""
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
