"""Runs real coroutines one port call at a time, without a loop, so that every order can be tried.

A coroutine's state cannot be copied, but it is a function of the answers it was given: to stand
where it stood, it is started anew and given them again. Not here: what is explored
(`tests/unit/patterns/test_keys_in_retry_exhaustive.py`).
"""

from collections.abc import Awaitable, Coroutine, Generator, Sequence
from types import coroutine
from typing import Any, NamedTuple, TypeVar

from lab.ports.bus import Outgoing, Publisher
from lab.ports.dedupe import Claim, DedupeStore
from lab.ports.key_retry import Arrival, KeyRetryStore, WaitingRow
from lab.ports.store import Outcome, Unit, UnitVerdict

T = TypeVar("T")

Call = tuple[Any, ...]
"""The name of a port's method, and its arguments."""


class Abandoned(BaseException):
    """Raised into a coroutine that is not gone on with: its `finally` blocks must do nothing."""


@coroutine
def ask(call: Call) -> Generator[Call, Any, T]:
    """Ask the harness to do `call`: its answer is returned, or raised if it is an error."""
    answer: T = yield call
    if isinstance(answer, BaseException):
        raise answer
    return answer


class Stop(NamedTuple):
    """Where a coroutine stands: at its next call, or at its end with a result."""

    call: Call | None
    result: Any


def stand(start: Coroutine[Call, Any, Any], answers: Sequence[Any]) -> Stop:
    """Start a coroutine, give it all answers, and say where it stands then. It is not kept."""
    try:
        call = start.send(None)
        for answer in answers:
            call = start.send(answer)
    except StopIteration as end:
        return Stop(None, end.value)
    while True:
        try:
            start.throw(Abandoned())
        except (Abandoned, StopIteration):
            return Stop(call, None)


def at_once(call: Awaitable[T]) -> T:
    """The result of a call of a memory adapter, which suspends but waits for nobody."""
    # What `crosses` makes is a generator: awaitable, and its own iterator.
    steps = call if isinstance(call, Generator) else call.__await__()
    while True:
        try:
            waits_for = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # the awaitable says so
        assert waits_for is None, "it waits for something: it needs a loop"


class AskedKeyRetry(KeyRetryStore):
    """Keys in retry, each call one step."""

    async def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:
        return await ask(("arrive", row))

    async def park(self, row: WaitingRow) -> WaitingRow | None:
        return await ask(("park", row))

    async def head(self, group: str, key: str) -> tuple[WaitingRow | None, int]:
        return await ask(("head", group, key))

    async def reschedule(self, row: WaitingRow) -> bool:
        return await ask(("reschedule", row))

    async def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:
        return await ask(("finish", group, key, event_id))

    async def bury(self, group: str, key: str, event_id: str, redrives: int) -> None:
        await ask(("bury", group, key, event_id, redrives))

    async def revive(self, row: WaitingRow) -> bool:
        return await ask(("revive", row))

    async def discard(self, row: WaitingRow) -> bool:
        return await ask(("discard", row))


class AskedDedupe(DedupeStore):
    """Claims, each call one step."""

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        return await ask(("claim", group, event_id, owner, lease_us))

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        return await ask(("complete", group, event_id, owner, fence, window_us))

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        return await ask(("release", group, event_id, owner, fence))


class AskedOrders:
    """Outcomes and commits, each call one step."""

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:
        return await ask(("outcome", group, event_id))

    async def commit(self, unit: Unit) -> UnitVerdict:
        return await ask(("commit", unit))


class AskedPublisher(Publisher):
    """Records, each call one step."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await ask(("publish", tuple(records)))
