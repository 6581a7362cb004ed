"""What is done to a standing system beside its work: made, brought up to date, cut.

Not here: the processes of the system (`worlds/real_process`), and the commands (`lab.cli`).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from lab.bus.kafka.client import quiet_client
from lab.domain.errors import EnvironmentNotReady, LabError
from lab.ports.clock import Clock
from lab.ports.retention import Ages
from lab.runtime.clock import SystemClock
from lab.settings import Settings
from lab.wiring.backends.real import KafkaBackend, PostgresBackend, RealBackends
from lab.wiring.process.retention import RetentionJob, ages_of, cut_all, one_age, safe
from lab.wiring.worlds.assignment import Assignment

STATEMENT_US: Final = 60_000_000
"""Deadline of a statement that nobody's order waits for."""


def migrate_all(assignment: Assignment) -> Sequence[str]:
    """Make schema and topics of the system that `assignment` names; sentences about them.

    Raises:
        EnvironmentNotReady: a server is not there, or does not let us.
        SettingError: a policy is impossible.
    """
    return asyncio.run(_migrate(assignment))


def prune(
    assignment: Assignment, *, older_than_ms: int | None, is_dry: bool
) -> tuple[Mapping[str, int], str]:
    """Cut what is old in the system that `assignment` names.

    The inbox keeps what a record on the broker may still ask for, whatever the age.

    Args:
        assignment: with its policies.
        older_than_ms: one age for everything, instead of those of the policies.
        is_dry: only count.

    Returns:
        Rows by table; and what the inbox kept beyond its age, in one sentence, "" if nothing.

    Raises:
        EnvironmentNotReady: a server is not there, or there is no such system on it.
        SettingError: a policy is impossible.
    """
    settings = assignment.policies()
    ages = ages_of(settings) if older_than_ms is None else one_age(older_than_ms)
    return asyncio.run(_prune(assignment, settings, ages, is_dry=is_dry))


def retention_job(
    backends: RealBackends,
    settings: Settings,
    clock: Clock,
    stack: AsyncExitStack,
    log: logging.Logger,
) -> RetentionJob:
    """The job of a relay that cuts what is old.

    Args:
        backends: prepared.
        settings: policies.
        clock: of the process.
        stack: ends its connection.
        log: has a line whenever something was cut, or could not be.
    """

    def tell(sentence: str, rows: Mapping[str, int]) -> None:
        outcome = "success" if rows else "failure"
        cut = ", ".join(f"{name} {count}" for name, count in rows.items() if count)
        extra = {"event.action": "retention", "event.outcome": outcome}
        level = logging.INFO if rows else logging.WARNING
        log.log(level, f"{sentence} ({cut})" if cut else sentence, extra=extra)

    return RetentionJob(
        backends.store.retention(stack, patience_us=STATEMENT_US),
        clock,
        settings,
        redelivery_ms=backends.bus.redelivery_ms,
        tell=tell,
    )


async def _migrate(assignment: Assignment) -> Sequence[str]:
    store, bus = _backends(assignment, assignment.policies())
    async with AsyncExitStack() as stack:
        await store.prepare(stack)
        await bus.prepare(stack)
        try:
            await bus.keep()
        except LabError as error:
            raise EnvironmentNotReady(
                f"its topics keep records as they did ({error})",
                server="Kafka",
                address=assignment.kafka_bootstrap,
                remedy="let this user describe and alter the configuration of its topics",
            ) from error
    return (
        f"schema {assignment.name}: {', '.join(store.made) or 'up to date'}",
        f"topics of {assignment.name}: {', '.join(bus.made) or 'all there'}",
    )


async def _prune(
    assignment: Assignment, settings: Settings, ages: Ages, *, is_dry: bool
) -> tuple[Mapping[str, int], str]:
    store, bus = _backends(assignment, settings)
    async with AsyncExitStack() as stack:
        if not await store.exists():
            raise no_such_system(assignment, "PostgreSQL has no schema of this name")
        await bus.reach(stack)
        try:
            ages, kept = safe(ages, await bus.redelivery_ms())
            rows = store.retention(stack, patience_us=STATEMENT_US)
            if is_dry:
                return await rows.count_old(ages), kept
            return await cut_all(rows, ages, SystemClock()), kept
        except LabError as error:
            raise no_such_system(assignment, f"nothing can be cut ({error})") from error


def no_such_system(assignment: Assignment, what: str) -> EnvironmentNotReady:
    """The error of a command about a system that a server does not have; `what` is its defect."""
    return EnvironmentNotReady(
        what,
        server=f"the system {assignment.name}",
        address="",
        remedy='name another one (--name), or make it with "lab migrate"',
    )


def _backends(assignment: Assignment, settings: Settings) -> tuple[PostgresBackend, KafkaBackend]:
    quiet_client()
    where = assignment.where
    store = PostgresBackend(where, settings, epoch_us=0, member=assignment.process)
    return store, KafkaBackend(where, settings, epoch_us=0, is_run=False)
