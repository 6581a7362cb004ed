"""A port of a process with its crash points and boundaries around each call.

Not here: the list of the points (`crash_sites.py`), and the decision to strike (`strikes.py`).
"""

from collections.abc import Awaitable, Sequence
from typing import NoReturn, Protocol

from lab.faults.processes.crash_sites import Call, Hook, Moment, Role
from lab.faults.processes.work_at_hand import WORK, doomed
from lab.ports.bus import Consumer
from lab.ports.every_call import Method, PortType, Wrap


class Strikes(Protocol):
    """The questions that a port asks at each of its calls."""

    @property
    def role(self) -> Role:
        """The role of the process."""
        ...

    @property
    def has_boundaries(self) -> bool:
        """Whether a fault may strike at any boundary."""
        ...

    def strikes(self, hook: Hook, call: Call) -> bool:
        """Whether the process dies at this point now."""
        ...

    @property
    def has_mid_drain(self) -> bool:
        """Whether a fault may strike in the middle of a drain."""
        ...

    def strikes_drain(self) -> bool:
        """Whether the process dies in the middle of its drain."""
        ...

    def begin_batch(self, subjects: Sequence[str]) -> None:
        """The relay begins a batch of these orders."""
        ...

    async def die(self) -> NoReturn:
        """Kill this process at this await."""
        ...


def bounded_calls(faults: Strikes, port: PortType[object], hooks: Sequence[Hook]) -> Wrap:
    """Puts every boundary that lies at a call of `port` around it, for `around_every_call`."""

    def wrap(method: str, call: Method) -> Method:
        return _bounded(faults, port, method, call, hooks)

    return wrap


def _bounded(
    faults: Strikes, port: PortType[object], method: str, call: Method, hooks: Sequence[Hook]
) -> Method:
    """One method of a port, with every boundary that lies at it."""
    mine = [hook for hook in hooks if hook.method == method]
    before = [hook for hook in mine if hook.moment is Moment.BEFORE]
    after = [hook for hook in mine if hook.moment is Moment.AFTER]
    is_boundary = faults.has_boundaries and not method.startswith("wait_") and port is not Consumer
    may_drain = faults.has_mid_drain and port is Consumer and method in ("commit", "leave")
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
        if is_mark and (work := doomed()) is not None:
            # The batch is done.
            await work.ends()
        return result

    if mine or may_drain or is_claim or is_mark:
        return bounded
    return _only_doomed(call, bounded) if is_boundary else call


def _only_doomed(call: Method, bounded: Method) -> Method:
    """`bounded` for work that is doomed; other work has no further coroutine around its calls."""
    # As `doomed`, without a frame of its own: this runs 45 times an order.
    running = WORK.get

    def passed(*args: object, **kwargs: object) -> Awaitable[object]:
        work = running()
        is_doomed = work is not None and work.dooms
        return bounded(*args, **kwargs) if is_doomed else call(*args, **kwargs)

    return passed
