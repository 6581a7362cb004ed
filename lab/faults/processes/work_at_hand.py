"""The work of a task (a delivery, a request, a relay batch), and the faults that will strike it.

A fault that falls "somewhere in the middle" falls before or after one of the port calls that the
work makes: its boundaries. The boundary is drawn when the work begins; work that has fewer is
struck at its end.

Not here: the effect of a strike (`strikes.py`), and the calls themselves (`around_ports.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lab.faults.plan.plan import Firing, Site


@dataclass(slots=True, kw_only=True)
class Doom:
    """One strike that is to come.

    Attributes:
        left: boundaries to be passed before it.
        strike: strikes at a boundary; returns when the work may go on.
        strike_end: strikes at the end of the work instead.
    """

    site: Site
    firing: Firing
    left: int
    strike: "Callable[[Firing, Work], Awaitable[None]]"
    strike_end: "Callable[[Firing, Work], Awaitable[None]]"


class Work:
    """One piece of work and its dooms.

    Attributes:
        dooms: the strikes that are still to come; most work has none.
        subject: its order, as `ordinal.send`.
        task: the task in which it was doomed; its calls may run in others.
    """

    __slots__ = ("dooms", "subject", "task")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.task: asyncio.Task[Any] | None = None
        self.dooms: tuple[Doom, ...] = ()

    def doom(self, doom: Doom) -> None:
        """One strike more is to come; called in the task in which the work begins."""
        self.task = asyncio.current_task()
        self.dooms = (*self.dooms, doom)

    @property
    def is_doomed(self) -> bool:
        """Whether a strike is still to come. Healing saves the work."""
        return bool(self.dooms) and any(doom.site.is_active for doom in self.dooms)

    async def passes(self) -> None:
        """It passes a boundary, where a doom that is due strikes."""
        for doom in self.dooms:
            if not doom.site.is_active:
                continue
            if doom.left:
                doom.left -= 1
            else:
                self._spend(doom)
                await doom.strike(doom.firing, self)

    async def ends(self) -> None:
        """It is done: every doom that is left strikes now."""
        for doom in self.dooms:
            if doom.site.is_active:
                self._spend(doom)
                await doom.strike_end(doom.firing, self)

    def _spend(self, doom: Doom) -> None:
        """Use a doom up, once, also if several calls run side by side. It is recorded first."""
        self.dooms = tuple(other for other in self.dooms if other is not doom)
        doom.site.strike(doom.firing)


WORK: ContextVar[Work | None] = ContextVar("work", default=None)
"""The work of the running task, and of the tasks that it starts."""


def doomed() -> Work | None:
    """The work of the running task if a strike is to come; None for most work."""
    work = WORK.get()
    return work if work is not None and work.dooms else None
