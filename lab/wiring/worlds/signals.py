"""The signals of one operating-system process of the lab, and what else may end it.

Not here: what the process does then (`real_process`).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from lab.bus.loop.workers import SUBSCRIPTION
from lab.history.pen import Pen
from lab.ports.usable import Usable
from lab.runtime.process_loop import SPAWNED
from lab.wiring.process.unexpected import note_unexpected
from lab.wiring.worlds.assignment import Assignment


def _hear(loop: asyncio.AbstractEventLoop, call: Callable[[], None], *_: object) -> None:
    with suppress(RuntimeError):  # The loop is closed.
        loop.call_soon_threadsafe(call)


class ProcessSignals(Usable):
    """The signals of the operating system.

    Attributes:
        is_ready: it has begun.
        is_stopping: it was asked to stop.
        url: where the process answers, "" if it does not.
        pen: writes down what nobody expected; None: nobody looks yet.
    """

    def __init__(self, assignment: Assignment) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._heard)
        self.is_ready = self.is_stopping = False
        self.url = ""
        self.pen: Pen | None = None
        self._asked_to_stop: asyncio.Future[None] = loop.create_future()
        self._again: Callable[[], object] = lambda: None
        self._heal: Callable[[], object] = lambda: None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        # Not the loop's: it stays when the loop is closed.
        signal.signal(signal.SIGUSR1, partial(_hear, loop, self._healed))
        if assignment.is_supervised:
            # Its supervisor has ended, however: nobody will ever ask it for anything again.
            loop.add_reader(sys.stdin.fileno(), self._orphaned)

    def why_not(self) -> str:
        if self.is_stopping:
            return "it is draining"
        return "" if self.is_ready else "it has not begun yet"

    async def wait(self) -> None:
        """Wait until it is asked to stop. Raises the error of `fail`."""
        await self._asked_to_stop

    def on_again(self, again: Callable[[], object]) -> None:
        """Call `again` whenever it is asked once more."""
        self._again = again

    def on_heal(self, heal: Callable[[], object]) -> None:
        """Call `heal` when the faults of the run have ended."""
        self._heal = heal

    def failed(self, error: BaseException, name: str) -> None:
        """A task that nobody waits for has failed: `fail`, and tell of it."""
        if self.pen is not None:
            note_unexpected(self.pen, {"exception": error, SPAWNED: name})
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """A part of the process has failed: it must not go on without it."""
        if not self._asked_to_stop.done():
            self._asked_to_stop.set_exception(error)

    def _heard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task that nobody waits for has failed; without its subscription a process is none."""
        loop.default_exception_handler(context)
        if self.pen is not None:
            note_unexpected(self.pen, context)
        if SUBSCRIPTION in context:
            self.fail(context["exception"])

    def _stop(self) -> None:
        if self._asked_to_stop.done():
            self._again()
        else:
            self._asked_to_stop.set_result(None)

    def _healed(self) -> None:
        self._heal()

    def _orphaned(self) -> None:
        if not os.read(sys.stdin.fileno(), 1_024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop()
