"""A port of a process with its crash points and boundaries around each call.

Not here: the list of the points (`crash_sites.py`), and the decision to strike (`strikes.py`).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, Protocol

from lab.faults.processes.crash_sites import Call, Hook, Moment, Port, Role, awaited_methods
from lab.faults.processes.work_at_hand import WORK, doomed


class Strikes(Protocol):
    """What a port asks at each of its calls."""

    @property
    def role(self) -> Role:
        """What the process is for."""
        ...

    @property
    def has_boundaries(self) -> bool:
        """Whether something may strike at any boundary."""
        ...

    def strikes(self, hook: Hook, call: Call) -> bool:
        """Whether the process dies at this point now."""
        ...

    def strikes_drain(self) -> bool:
        """Whether the process dies in the middle of its drain."""
        ...

    def begin_batch(self, subjects: Sequence[str]) -> None:
        """The relay begins a batch of these orders."""
        ...

    async def end_batch(self) -> None:
        """The relay has marked its batch."""
        ...

    async def die(self) -> NoReturn:
        """Kill this process at this await."""
        ...


class Around:
    """A port with crash points around its calls. Everything else is the port's own."""

    def __init__(self, faults: Strikes, port: Port, inner: object, hooks: Sequence[Hook]) -> None:
        self._inner = inner
        for method in awaited_methods(port):
            call = getattr(inner, method, None)
            if call is not None:
                setattr(self, method, _bounded(faults, port, method, call, hooks))

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def _bounded(
    faults: Strikes,
    port: Port,
    method: str,
    call: Callable[..., Awaitable[object]],
    hooks: Sequence[Hook],
) -> Callable[..., Awaitable[object]]:
    """One method of a port, with every boundary that lies at it."""
    mine = [hook for hook in hooks if hook.method == method]
    before = [hook for hook in mine if hook.moment is Moment.BEFORE]
    after = [hook for hook in mine if hook.moment is Moment.AFTER]
    is_boundary = (
        faults.has_boundaries and not method.startswith("wait_") and port is not Port.CONSUMER
    )
    may_drain = port is Port.CONSUMER and method in ("commit", "leave")
    is_claim = faults.role is Role.RELAY and method == "unpublished"
    is_mark = faults.role is Role.RELAY and method == "mark_published"

    async def bounded(*args: object, **kwargs: object) -> object:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if before and any(faults.strikes(hook, Call(first)) for hook in before):
            await faults.die()
        if is_boundary and (work := doomed()) is not None:
            await work.passes()
        if may_drain and faults.strikes_drain():
            await faults.die()
        result = await call(*args, **kwargs)
        if is_claim:
            assert isinstance(result, Sequence)
            faults.begin_batch([row.envelope.lab_subject for row in result])
        if after and any(faults.strikes(hook, Call(first, result)) for hook in after):
            await faults.die()
        if is_boundary and (work := doomed()) is not None:
            await work.passes()
        if is_mark:
            await faults.end_batch()
        return result

    if mine or may_drain or is_claim or is_mark:
        return bounded
    return _only_doomed(call, bounded) if is_boundary else call


def _only_doomed(
    call: Callable[..., Awaitable[object]], bounded: Callable[..., Awaitable[object]]
) -> Callable[..., Awaitable[object]]:
    """Hardly any work is doomed: the rest pays for no coroutine more around each call."""
    # As `doomed`, without a frame of its own: it is asked 45 times an order.
    running = WORK.get

    def passed(*args: object, **kwargs: object) -> Awaitable[object]:
        work = running()
        is_doomed = work is not None and work.dooms
        return bounded(*args, **kwargs) if is_doomed else call(*args, **kwargs)

    return passed
