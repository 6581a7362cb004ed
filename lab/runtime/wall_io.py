"""The operating system's part on the wall clock: awaited files, and the sockets of each process.

All processes wait in one selector. Each sees a part of it, which can be held (nothing of it is
looked at) and closed.

Not here: the processes (`wall_loop.py`).
"""

import contextlib
import selectors
import socket
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from selectors import SelectorKey
from typing import Any, Final, TypeVar

from lab.runtime.scheduling import SimHandle

T = TypeVar("T")

Events = Callable[[list[tuple[SelectorKey, int]]], None]
"""Takes the result of a selector."""

_LOOKUP_THREADS: Final = 4
_WAKE_BYTES: Final = 4096


class OperatingSystem:
    """The events to wait for when nothing can run: of files, and answers of threads."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._awake, self._wake = socket.socketpair()
        self._awake.setblocking(False)  # noqa: FBT003 - its signature
        self._wake.setblocking(False)  # noqa: FBT003 - its signature
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._arrived: deque[SimHandle] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._asked = 0
        self._answered: deque[Future[Any]] = deque()

    def part(self, on_events: Events) -> "Part":
        """The part of a process; `on_events` gets its ready files."""
        return Part(self._selector, on_events)

    def expects(self) -> bool:
        """Whether anything may ever come of waiting."""
        return len(self._selector.get_map()) > 1 or self._asked > 0 or bool(self._arrived)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for the first file or answer, at most so long; hand over all that are there."""
        for key, mask in self._selector.select(timeout_s):
            part: Part | None = key.data
            if part is not None:
                part.tell(key.fd, mask)
            else:
                with contextlib.suppress(BlockingIOError):
                    self._awake.recv(_WAKE_BYTES)
        while self._answered:
            self._answered.popleft()
            self._asked -= 1
        while self._arrived:
            handle = self._arrived.popleft()
            handle.process.make_ready(handle)

    def hand_in(self, handle: SimHandle) -> None:
        """Have `handle` run in its process; from any thread."""
        self._arrived.append(handle)
        self._ring()

    def ask(self, look_up: Callable[..., T], *args: object) -> "Future[T]":
        """Call it in a thread: the system has no other way to resolve a name."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="lab-lookup")
        self._asked += 1
        return self._threads.submit(look_up, *args)

    def on_answer(self, answer: "Future[Any]") -> None:
        """The last callback of the future of `ask`; in its thread."""
        self._answered.append(answer)
        self._ring()

    def close(self) -> None:
        """Idempotent. An answer that is still out comes to nothing."""
        self._selector.close()
        self._awake.close()
        self._wake.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _ring(self) -> None:
        # Full: it is awake anyway. Closed: nobody is there.
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")


class Part(selectors.SelectSelector):
    """The files that one process waits for, on the selector of all.

    For asyncio it is a selector like any other. The class it inherits from only keeps the books;
    nobody ever calls its `select`.
    """

    def __init__(self, shared: selectors.BaseSelector, on_events: Events) -> None:
        super().__init__()
        self._shared = shared
        self._on_events = on_events
        self._is_held = False

    def tell(self, fd: int, mask: int) -> None:
        """The selector of all has found this."""
        # Another process may have killed or held this one since.
        key = None if self._is_held else (self.get_map() or {}).get(fd)
        if key is not None:
            self._on_events([(key, mask & key.events)])

    def hold(self) -> None:
        """Look at none of the files until `release`; their events stay in the system."""
        self._is_held = True
        for key in self.get_map().values():
            self._shared.unregister(key.fd)

    def release(self) -> None:
        """Look at them again."""
        self._is_held = False
        for key in self.get_map().values():
            self._shared.register(key.fd, key.events, self)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        key = super().register(fileobj, events, data)
        if not self._is_held:
            try:
                self._shared.register(key.fd, events, self)
            except BaseException:
                super().unregister(fileobj)
                raise
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        key = super().unregister(fileobj)
        if not self._is_held:
            self._shared.unregister(key.fd)
        return key

    def close(self) -> None:
        if self.get_map() is not None and not self._is_held:
            self.hold()
        super().close()


class OwnSockets:
    """The sockets of one process that are open, whether or not anybody waits for them."""

    def __init__(self) -> None:
        self._made = 0
        self._alive: weakref.WeakValueDictionary[int, socket.socket] = weakref.WeakValueDictionary()

    def add(self, made: socket.socket) -> None:
        """One more."""
        self._made += 1
        self._alive[self._made] = made

    def close_all(self) -> None:
        """Close them, as the kernel does for a process that ends; peers see it at once.

        The objects stay, without a descriptor: nobody can close it twice.
        """
        for made in list(self._alive.values()):
            fd = made.detach()
            if fd >= 0:
                socket.close(fd)


@contextmanager
def sockets_noted(note: Callable[[socket.socket], None]) -> Iterator[None]:
    """Within the block `note` is called with each socket that is made, in any thread.

    To accept, connect or listen makes one; so it is known before anything can happen to it.
    Inside such a block of another thread this one adds nothing.
    """
    make: Any = socket.socket.__init__
    if hasattr(make, "notes"):
        yield
        return

    def noted(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        note(self)

    noted.notes = note  # type: ignore[attr-defined]  # says that the patch is in place
    socket.socket.__init__ = noted  # type: ignore[method-assign]  # no other place sees every socket that is made
    try:
        yield
    finally:
        socket.socket.__init__ = make  # type: ignore[method-assign]  # as it was
