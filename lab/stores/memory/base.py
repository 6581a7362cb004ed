"""The common ground of the servers in memory: the way to them, their clock, their forgetting.

A server survives the crashes of its clients. A client belongs to one process: each of its calls
suspends once, which is where the process can die, and is then applied in one step.
Not here: any table.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from itertools import chain, takewhile
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar

from lab.ports.clock import Timer

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

KEPT_AT_LEAST: Final = 10_000


Crossing = Generator[None, None, T]
"""The body of a call to a server: a bare `yield` is the way there and back."""

if TYPE_CHECKING:

    def crosses(body: Callable[P, Crossing[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Make a call of it, to be awaited: an `async def` would need a coroutine to suspend."""
else:
    crosses = coroutine


@crosses
def crossing() -> Crossing[None]:
    """The way to the server and back: one bare suspension, the crash point of every call."""
    yield


def waiter(what: object) -> "asyncio.Future[None]":
    """Something for the running process to await; a report of waiting tasks calls it `what`."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.waiting_for = what  # type: ignore[attr-defined]  # see `lab.runtime.stalled`
    return future


class Harness(Protocol):
    """The process that never dies: servers take their time and their timers from it."""

    def now_us(self) -> int:
        """Virtual time."""
        ...

    def wall_us(self) -> int:
        """Time since the Unix epoch; a fixed distance from virtual time."""
        ...

    def call_at_us(self, when_us: int, callback: Callable[[], object]) -> Timer:
        """Run `callback` when the clock shows `when_us`."""
        ...


class OwnerLife(Protocol):
    """The process that a client belongs to.

    Attributes:
        on_kill: called when the process has died, for any cause; the servers then act as real
            ones do when the operating system closes the connection.
    """

    on_kill: list[Callable[[], None]]


class Aged(Generic[V]):
    """A dictionary that forgets entries some time after `retention_us`, at no cost per entry.

    Two generations: new entries go into the young one. When the old one has nothing left that is
    younger than `retention_us`, it is dropped whole and the young one takes its place. So an entry
    lives for at least `retention_us` and memory is bounded by the entries of two retentions (and
    `kept_at_least` entries, so that a small run forgets nothing). No timers, no queue.
    """

    __slots__ = ("_kept_at_least", "_old", "_retention_us", "_turned_us", "_young")

    def __init__(self, retention_us: int, kept_at_least: int = KEPT_AT_LEAST) -> None:
        self._retention_us = retention_us
        self._kept_at_least = kept_at_least
        self._turned_us = -retention_us
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        """The value, or None if there is none or it is forgotten."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: str, value: V, now_us: int) -> None:
        """Keep `value` for at least the retention from now on."""
        young = self._young
        young[key] = value
        if len(young) >= self._kept_at_least and now_us - self._turned_us >= self._retention_us:
            self._old = young
            self._young = {}
            self._turned_us = now_us

    def older(self, is_old: Callable[[V], bool]) -> list[str]:
        """The keys of the oldest entries, as far as `is_old` says so of each."""
        found: list[str] = []
        for entries in (self._old, self._young):
            found += [key for key, _ in takewhile(lambda item: is_old(item[1]), entries.items())]
        return found

    def pop(self, key: str) -> V | None:
        """Take the entry out; None if there is none."""
        value = self._young.pop(key, None)
        old = self._old.pop(key, None)
        return old if value is None else value

    def items(self) -> Iterator[tuple[str, V]]:
        """Every entry that is remembered, once, older ones first."""
        young = self._young
        return chain(
            (item for item in self._old.items() if item[0] not in young), self._young.items()
        )

    def clear(self) -> None:
        """Forget everything now."""
        self._young = {}
        self._old = {}
