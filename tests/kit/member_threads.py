"""Processes for tests on real servers: each is a thread with an event loop of its own.

One baton goes round: only who holds it runs code, so cases may share plain objects between the
processes. A process that is paused or killed gets it no more, exactly between two steps; its
sockets stay open or are shut, as the system does it for a stopped or a killed process.

Not here: servers, and processes of the operating system.
"""

import asyncio
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from lab.runtime.graveyard import keep

T = TypeVar("T")


class Baton:
    """Who holds it may run; handed on in the order of asking."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_held = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self) -> None:
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def give(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False


class _Selector(selectors.DefaultSelector):
    """Gives the baton away while its loop waits."""

    def __init__(self, baton: Baton) -> None:
        super().__init__()
        self._baton = baton
        self.may_run = threading.Event()
        self.may_run.set()

    def select(self, timeout: float | None = None) -> Any:
        self._baton.give()
        try:
            return super().select(timeout)
        finally:
            while True:
                self.may_run.wait()
                self._baton.take()
                if self.may_run.is_set():
                    break
                self._baton.give()


class MemberLoop(asyncio.SelectorEventLoop):
    """An event loop that may be called from other threads, by whoever holds the baton."""

    def __init__(self, baton: Baton) -> None:
        self.baton = baton
        self.selector = _Selector(baton)
        self.owner = threading.get_ident()
        super().__init__(self.selector)

    def call_soon(  # type: ignore[override]  # the types of its arguments do not matter here
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if threading.get_ident() == self.owner:
            return super().call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)


class Process:
    """A thread with its own loop, until it is killed or closed."""

    def __init__(self, name: str, baton: Baton, on_trouble: Callable[[str], None]) -> None:
        self.name = name
        self.is_dead = False
        self._on_trouble = on_trouble
        self._baton = baton
        ready = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(ready,), name=name, daemon=True)
        self._thread.start()
        ready.wait()

    def call(self, inside: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        """Run it in the process; the future belongs to the caller's loop."""
        outside: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def hand_over(task: asyncio.Task[T]) -> None:
            if outside.done():
                return
            if task.cancelled():
                outside.cancel()
            elif (error := task.exception()) is not None:
                outside.set_exception(error)
            else:
                outside.set_result(task.result())

        self.loop.create_task(inside).add_done_callback(hand_over)
        return outside

    def pause(self) -> None:
        self.loop.selector.may_run.clear()

    def resume(self) -> None:
        if not self.is_dead:
            self.loop.selector.may_run.set()

    def kill(self) -> None:
        """Nothing of it runs any more, ever; its connections end."""
        self.is_dead = True
        self.pause()
        keep([self])
        for fd in [key.fd for key in self.loop.selector.get_map().values()]:
            with socket.socket(fileno=os.dup(fd)) as end:
                if end.family is not socket.AF_UNIX:  # That is how other threads wake the loop.
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def bury(self) -> None:
        """After the case: end the thread and free what it holds. Called without the baton."""
        if self.is_dead:
            return
        self.loop.selector.may_run.set()
        self.loop.call_soon_threadsafe(self._end)
        self._thread.join(20)
        assert not self._thread.is_alive(), f"the process {self.name} does not end"

    def _live(self, ready: threading.Event) -> None:
        # Its maker holds the baton and waits until the loop is there.
        self.loop = MemberLoop(self._baton)
        self.loop.set_exception_handler(self._report)
        self._ended = self.loop.create_future()
        ready.set()
        self._baton.take()
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._wait())
        finally:
            self._baton.give()

    async def _wait(self) -> None:
        await self._ended

    def _end(self) -> None:
        self._ended.set_result(None)

    def _report(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._on_trouble(f"{self.name}: {context.get('message')}: {context.get('exception')!r}")
