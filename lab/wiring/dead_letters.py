"""The dead-letter queues of a system that stands on a Kafka, for the person who looks into them.

Not here: what a letter is and how it is answered (`lab.patterns.redrive`), the scripted operator of
a run (`worlds/operator`), and the commands (`lab.cli.dlq`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from lab.bus.kafka.client import quiet_client
from lab.domain.errors import EnvironmentNotReady, Indeterminate, LabError, Transient
from lab.history.recorder import Write
from lab.patterns.redrive import Letter, Redrive, Wanted
from lab.runtime.clock import SystemClock
from lab.wiring.backends.real import KafkaBackend
from lab.wiring.standing import no_such_system
from lab.wiring.worlds.assignment import Assignment
from lab.wiring.worlds.operator import dead_letter_queues

RATE: Final = 10.0
"""Letters a second, where nobody says otherwise."""


def letters(assignment: Assignment, wanted: Wanted) -> list[Letter]:
    """The unanswered letters of the system that `assignment` names, queue by queue.

    Raises:
        EnvironmentNotReady: the broker is not there, or has no such system.
    """

    async def look() -> list[Letter]:
        async with _opened(assignment, rate=RATE, write=None) as redrive:
            return await redrive.letters(wanted)

    return asyncio.run(look())


def answer(
    assignment: Assignment,
    chosen: Sequence[Letter],
    *,
    is_discard: bool,
    rate: float,
    write: Write,
    may_go: Callable[[Letter], bool] = lambda _: True,
) -> int:
    """Send letters back to their groups, or give them up; how many went.

    One that somebody else has answered since it was chosen is left out, and so is one that may go
    no more: time has passed, if only over a question.

    Args:
        assignment: names the system.
        chosen: as `letters` gave them.
        is_discard: give them up.
        rate: letters a second.
        write: hears of each at once: more of them may have gone when an error comes.
        may_go: asked once more.

    Raises:
        EnvironmentNotReady: the broker is not there, or has stopped answering.
    """

    async def act() -> int:
        async with _opened(assignment, rate=rate, write=write) as redrive:
            there = {_life(letter) for letter in await redrive.letters()}
            left = [letter for letter in chosen if _life(letter) in there and may_go(letter)]
            done = await (redrive.discard(left) if is_discard else redrive.redrive(left))
            return len(done)

    return asyncio.run(act())


def now_us() -> int:
    """Wall time, which letters are older than."""
    return SystemClock().wall_us()


def _life(letter: Letter) -> tuple[str, str, int]:
    """The death that a letter tells of."""
    return letter.group, letter.event_id, letter.redrives


@asynccontextmanager
async def _opened(
    assignment: Assignment, *, rate: float, write: Write | None
) -> AsyncIterator[Redrive]:
    quiet_client()
    bus = KafkaBackend(assignment.where, assignment.policies(), epoch_us=0, is_run=False)
    queues = dead_letter_queues()
    async with AsyncExitStack() as stack:
        await bus.reach(stack)
        try:
            if await bus.missing(queues):
                raise no_such_system(assignment, "Kafka has no dead-letter queues of this name")
            yield Redrive(
                queues=queues,
                reader=bus.reader(),
                publisher=bus.publisher(),
                clock=SystemClock(),
                rate=rate,
                write=write,
            )
        except (Transient, Indeterminate) as error:
            raise EnvironmentNotReady(
                f"it has stopped answering ({error})",
                server="Kafka",
                address=assignment.kafka_bootstrap,
                remedy="ask again: what was sent is not sent twice",
            ) from error
        except LabError as error:
            raise EnvironmentNotReady(
                f"it refuses ({error})",
                server="Kafka",
                address=assignment.kafka_bootstrap,
                remedy="let this user read the topics of the system, and write to them",
            ) from error
