"""The task of a process in virtual time: a coroutine that waits in the queue itself.

asyncio's own task calls the loop for each of its steps and has a handle made, which holds the
task's next step, which holds the task. Half of the cost of a step is that. Here the task stands in
the queue of ready handles, and the scheduler calls `step`. To everybody else it is a task: its
methods mean what those of `asyncio.Task` mean, and `asyncio.current_task` knows it.

Not here: the task of a process on the wall clock, which is asyncio's own (`scheduling.py`).

Source: the documentation of asyncio, "Extending", and its task in Python.
"""

import asyncio
import sys
from asyncio.tasks import (  # type: ignore[attr-defined]  # typeshed does not know the first
    _current_tasks,
    _enter_task,
    _leave_task,
    _register_task,
)
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar, final

if TYPE_CHECKING:
    from lab.runtime.process_loop import ProcessLoop
    from lab.runtime.scheduling import SimTask

T = TypeVar("T")


class CurrentOfThread:
    """The table of current tasks where there is none: Python 3.14 keeps one with each thread."""

    def __setitem__(self, loop: asyncio.AbstractEventLoop, task: Any) -> None:
        _enter_task(loop, task)

    def __delitem__(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None, "it was set for this step"
        _leave_task(loop, task)


_current: Any = _current_tasks if sys.version_info < (3, 14) else CurrentOfThread()

if TYPE_CHECKING:
    _Base = SimTask
else:
    _Base = asyncio.Future


@final
class VirtualTask(_Base[T]):
    """A task that knows its number; see `SimTask`.

    Attributes:
        process: the loop that it belongs to.
    """

    __slots__ = (
        "_cancels",
        "_context",
        "_coro",
        "_name",
        "_run",
        "_send",
        "_thrown",
        "_waiter",
        "instant_us",
        "number",
        "process",
        "wakes",
    )

    def __init__(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        number: int,
        loop: "ProcessLoop",
        name: str,
        context: Context | None,
    ) -> None:
        asyncio.Future.__init__(self, loop=loop)
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        self.number = number
        self.instant_us = -1
        self.wakes = 0
        self.process = loop
        self._coro = coro
        self._name = name
        self._send = coro.send
        self._context = copy_context() if context is None else context
        self._run = self._context.run
        self._waiter: asyncio.Future[Any] | None = None
        # Raised in the coroutine at its next step.
        self._thrown: BaseException | None = None
        self._cancels = 0
        _register_task(self)
        if loop.is_shuffled:
            # The order there is drawn over callbacks too: a task has always had one, and its place
            # is kept, or every seed would draw another order.
            self.add_done_callback(_keep_place)
        loop.make_ready(self)

    def __hash__(self) -> int:
        return self.number

    # ---- running

    def step(self) -> None:  # noqa: C901, PLR0912 - a helper is a call more for each step
        """Run it to its next suspension or to its end; called when its turn has come.

        In one piece, as the scheduler's loop is. A future that it waited for is asked for its
        result, or its error, by the very `await` that is resumed.
        """
        process = self.process
        self._waiter = None
        # As `_enter_task` and `_leave_task` do it, which are two calls more.
        _current[process] = self
        try:
            if self._thrown is None:
                wanted = self._run(self._send, None)
            else:
                wanted = self._run(self._coro.throw, self._take_thrown())
        except StopIteration as end:
            if self._thrown is None:
                asyncio.Future.set_result(self, end.value)
            else:
                # It was cancelled in its last step.
                asyncio.Future.cancel(self, *self._take_thrown().args[:1])
        except asyncio.CancelledError as end:
            asyncio.Future.cancel(self, *end.args[:1])
        except (KeyboardInterrupt, SystemExit) as end:
            asyncio.Future.set_exception(self, end)
            raise
        except BaseException as end:  # noqa: BLE001 - a task keeps what its coroutine raised
            asyncio.Future.set_exception(self, _from_inside(end))
        else:
            if wanted is None:
                process.make_ready(self)
            elif (
                getattr(wanted, "_asyncio_future_blocking", False)
                and wanted.get_loop() is process
                and wanted is not self
            ):
                wanted._asyncio_future_blocking = False  # noqa: SLF001 - as every task does
                # The loop is called with the task itself: see `VirtualLoop.call_soon`.
                wanted.add_done_callback(self, context=self._context)
                self._waiter = wanted
                if self._thrown is not None and wanted.cancel(*self._thrown.args[:1]):
                    self._thrown = None
            else:
                self._thrown = RuntimeError(self._why_not(wanted))
                process.make_ready(self)
            return
        finally:
            del _current[process]
        process.forget(self.number, None)

    def _take_thrown(self) -> BaseException:
        thrown, self._thrown = self._thrown, None
        assert thrown is not None, "asked for when there is something to throw"
        return thrown

    def _why_not(self, wanted: Any) -> str:
        """The reason why that cannot be waited for, in asyncio's words."""
        blocking = getattr(wanted, "_asyncio_future_blocking", None)
        if blocking is None:
            return f"Task got bad yield: {wanted!r}"
        if wanted.get_loop() is not self.process:
            return f"Task {self!r} got Future {wanted!r} attached to a different loop"
        if wanted is self:
            return f"Task cannot await on itself: {self!r}"
        return f"yield was used instead of yield from in task {self!r} with {wanted!r}"

    # ---- as a scheduler sees it

    def bury(self) -> None:
        """Never to be run again; nobody is told that it is pending anyway."""

    def waits_on(self) -> "asyncio.Future[object] | None":
        """The future that the task waits on now, if it waits on one."""
        return self._waiter

    # ---- as asyncio sees it

    def cancel(self, msg: Any | None = None) -> bool:
        """Raise CancelledError in the coroutine, at its next step; False if it has ended."""
        if self.done():
            return False
        self._cancels += 1
        if self._waiter is None or not self._waiter.cancel(msg=msg):
            self._thrown = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        return True

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        self._cancels = max(self._cancels - 1, 0)
        return self._cancels

    def get_coro(self) -> Any:
        return self._coro

    def get_context(self) -> Context:
        return self._context

    def get_name(self) -> str:
        return self._name

    def set_name(self, value: object) -> None:
        self._name = str(value)

    def __repr__(self) -> str:
        state = "done" if self.done() else "pending"
        return f"<Task {state} name={self._name!r} coro={self._coro!r}>"


def _keep_place(_task: "VirtualTask[Any]") -> None:
    """There is nothing to do."""


def _from_inside(error: BaseException) -> BaseException:
    """The error without the frame of `step`: its traceback says whose code raised it."""
    of_step = error.__traceback__
    return error.with_traceback(None if of_step is None else of_step.tb_next)
