"""Exceptions that nobody expected: whose mistake they are, and the entry about them.

One out of the system under test breaks a promise, with this entry as its witness. One of the lab's
own ends the run without a verdict. Not here: exceptions of a handler, which are retried
(`lab.bus.loop.ends`), and the end of a process that met one (`lab.wiring.worlds`).
"""

from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from lab.bus.loop.workers import CHAIN, SUBJECT, SUBSCRIPTION
from lab.domain.errors import EnvironmentNotReady
from lab.history.pen import Pen
from lab.runtime.errors import SimulationError
from lab.runtime.process_loop import SPAWNED

T = TypeVar("T")

REQUEST: Final = "request"
"""Where: an answer of the API."""

PROGRAM: Final = "program"
"""Where: the begin or the end of a process."""

_DELIVERY: Final = "delivery"
_ENDING: Final = ("subscription", "relay", "timer", PROGRAM)
"""Parts without which a process must not go on."""

_OWN: Final = frozenset(
    {"checks", "faults", "history", "observe", "providers", "report", "runtime", "scenarios"}
    | {"wiring", "bus/memory", "stores/memory"}
)
"""The rooms of the laboratory: what they raise is no fault of the order system."""

_LAB: Final = Path(__file__).parents[2]


def is_own_mistake(error: BaseException) -> bool:
    """Whether the lab itself is to blame, and not the order system.

    The innermost line of the package says whose code raised it; one out of a library belongs to its
    caller.
    """
    if isinstance(error, SimulationError | EnvironmentNotReady) or not isinstance(error, Exception):
        return True
    room, at = "", error.__traceback__
    while at is not None:
        path = Path(at.tb_frame.f_code.co_filename)
        if path.is_relative_to(_LAB):
            room = path.relative_to(_LAB).parent.as_posix()
        at = at.tb_next
    return room in _OWN or room.partition("/")[0] in _OWN


def note_unexpected(pen: Pen, context: Mapping[str, object]) -> bool:
    """Write down what an event loop reports; False if it is no error of the order system.

    Args:
        pen: of the process life.
        context: as of `asyncio`'s exception handler.
    """
    error = context.get("exception")
    if not isinstance(error, BaseException) or is_own_mistake(error) or pen.write is None:
        return False
    subject, kind = str(context.get(SUBJECT, "")), type(error).__name__
    pen.write(("failed", pen.now(), pen.process, subject, _where(context), kind))
    return True


def ends_process(where: str) -> bool:
    """Whether a process ends that met an error there."""
    return where in _ENDING


def ends_by(context: Mapping[str, object]) -> bool:
    """The same of a report."""
    return ends_process(_where(context))


def _where(context: Mapping[str, object]) -> str:
    if SUBSCRIPTION in context:
        return "subscription"
    if CHAIN in context:
        return _DELIVERY
    return str(context.get(SPAWNED, "task"))


async def telling(work: Coroutine[Any, Any, T], pen: Pen) -> T:
    """The result of a part of a program; an error of it is written down on its way."""
    try:
        return await work
    except Exception as error:
        note_unexpected(pen, {"exception": error, SPAWNED: PROGRAM})
        raise
