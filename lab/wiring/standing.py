"""What is done to a standing system by one command and then over: made, brought up to date, cut.

Not here: the processes of the system (`worlds/real_process`), and the commands (`lab.cli`).
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack

from lab.wiring.backends.real import KafkaBackend, PostgresBackend
from lab.wiring.worlds.assignment import Assignment


def migrate_all(assignment: Assignment) -> Sequence[str]:
    """Make schema and topics of the system that `assignment` names; sentences about them.

    Raises:
        EnvironmentNotReady: a server is not there, or does not let us.
        SettingError: a policy is impossible.
    """
    # It tells of each attempt by itself; the error says enough.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return asyncio.run(_migrate(assignment))


async def _migrate(assignment: Assignment) -> Sequence[str]:
    where, settings = assignment.where, assignment.policies()
    store = PostgresBackend(where, settings, epoch_us=0, member="migrate")
    bus = KafkaBackend(where, settings, epoch_us=0)
    async with AsyncExitStack() as stack:
        await store.prepare(stack)
        await bus.prepare(stack)
    return (
        f"schema {where.name}: {', '.join(store.made) or 'up to date'}",
        f"topics of {where.name}: {', '.join(bus.made) or 'all there'}",
    )
