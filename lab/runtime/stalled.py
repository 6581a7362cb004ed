"""The report of waiting tasks when a simulation has come to a stop.

A future that has an attribute `waiting_for` is waited for under that name, which is rendered only
when a report is made. Not here: deciding that it has (`virtual_loop.py`).
"""

import asyncio
from collections.abc import Iterable
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Final

from lab.runtime.scheduling import SimTask
from lab.runtime.virtual_task import VirtualTask

if TYPE_CHECKING:
    from lab.runtime.process_loop import ProcessLoop

_DEPTH_MAX: Final = 200
_LINES_MAX: Final = 40
_PLUMBING: Final = (str(PurePath(asyncio.__file__).parent), str(PurePath(__file__).parent))


def describe_waits(processes: "Iterable[ProcessLoop]") -> str:
    """One line for each live task: process, task, innermost awaited frame, name of its wait.

    Frames of asyncio and of this package are passed over where others are below them.
    """
    lines = [
        f"  {process.name}{' (paused)' if process.paused else ''}: "
        f"{task.get_name()} at {_place(task)}{_reason(task)}"
        for process in processes
        for task in process.live_tasks()
    ]
    more = len(lines) - _LINES_MAX
    if more > 0:
        lines[_LINES_MAX:] = [f"  ... and {more} more"]
    return "\n".join(lines) or "  no task is alive"


def _place(task: SimTask[object]) -> str:
    """Where the task is suspended, as ``folder/file.py:line function``."""
    awaited: object = task.get_coro()
    innermost: FrameType | None = None
    ours: FrameType | None = None
    for _ in range(_DEPTH_MAX):
        frame = _attribute(awaited, "cr_frame", "gi_frame", "ag_frame")
        if isinstance(frame, FrameType):
            innermost = frame
            if not frame.f_code.co_filename.startswith(_PLUMBING):
                ours = frame
        awaited = _attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")
        if awaited is None:
            break
    frame = ours or innermost
    if frame is None:
        return "its end"
    path = "/".join(PurePath(frame.f_code.co_filename).parts[-2:])
    return f"{path}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _reason(task: SimTask[object]) -> str:
    """The name that the awaited future gives to its wait."""
    future = task.waits_on()
    if future is None:
        return ""
    if isinstance(future, asyncio.Task | VirtualTask):
        return f", waiting for the task {future.get_name()}"
    label = getattr(future, "waiting_for", None)
    return "" if label is None else f", waiting for {label}"


def _attribute(thing: object, *names: str) -> object:
    """The first of these attributes that `thing` has and that is not None."""
    for name in names:
        value = getattr(thing, name, None)
        if value is not None:
            return value
    return None
