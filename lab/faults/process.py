"""Faults of processes: dying at a crash point, or being told to stop when a delivery begins.

One `ProcessFaults` belongs to one process life. It goes around its ports, between the recording of
calls and the adapter, and around its outermost handler. A crash is a call of the supervisor's
`kill` and an await that never returns.

Not here: the names of the points (`points.py`), which calls they lie at (`boundaries.py`), what a
kill does and when the process comes back (the supervisor).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NoReturn, TypeVar, cast

from lab.domain.envelope import H_SUBJECT
from lab.faults.boundaries import HOOKS, Call, Hook, Moment, Port, Role, awaited_methods
from lab.faults.plan import FaultPlan, Firing, Site, intent_of
from lab.faults.points import ANY, CRASH_POINTS, MID_DRAIN
from lab.ports.bus import Ack, Delivery, Handle, Settlement

P = TypeVar("P")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""

CRASH: Final = "proc.crash"
TERM: Final = "proc.term"

BOUNDARIES: Final = {Role.API: 4, Role.RELAY: 5, Role.CONSUMER: 24}
"""`any` draws one of so many port-call boundaries; work that has fewer dies at its end."""

_AFTER_ACK: Final = "handler.after_ack"


class ProcessFaults:
    """The `proc.*` faults of one process life that strike on a visit.

    Args:
        role: what the process is for.
        group: its consumer group, or its role.
        process: its member name, such as `payment-1`: the subject of `shutdown.mid_drain`.
        kill: ends the process life at once; returns to the step that it ends.
        term: tells the process to stop; returns at once.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        role: Role,
        group: str,
        process: str,
        kill: Callable[[], object],
        term: Callable[[], object],
    ) -> None:
        self._plan = plan
        self._role = role
        self._process = process
        self._kill = kill
        self._term = term
        self._points = {name: plan.at(CRASH, name) for name in CRASH_POINTS if self._wants(name)}
        self._term_site = plan.at(TERM, group) if plan.wants(TERM, group) else None
        self._is_draining = False

    @staticmethod
    def is_wanted(plan: FaultPlan) -> bool:
        """Whether the run has faults that need this."""
        return plan.wants(CRASH) or plan.wants(TERM)

    def begin_drain(self) -> None:
        """The process was told to stop: from now on `shutdown.mid_drain` is near."""
        self._is_draining = True

    # ---- what it goes around

    def around(self, port: Port, inner: P) -> P:
        """The port with its crash points; `inner` itself if none of them is wanted."""
        hooks = [
            hook
            for hook in HOOKS
            if hook.role is self._role and hook.port is port and hook.point in self._points
        ]
        drains = port is Port.CONSUMER and MID_DRAIN in self._points
        if not hooks and not drains and ANY not in self._points:
            return inner
        return cast("P", _Around(self, port, inner, hooks))

    def around_handle(self, handle: Handle) -> Handle:
        """The outermost link of a chain: knows whose delivery it is, and may die after its ack."""
        wanted = {ANY, _AFTER_ACK, *(hook.point for hook in HOOKS if hook.role is self._role)}
        if self._term_site is None and not wanted & self._points.keys():
            return handle
        after_ack = self._points.get(_AFTER_ACK)

        async def run(delivery: Delivery) -> Settlement:
            work = self._begin(delivery.subject)
            if self._term_site is not None and self._term_site.fires(delivery.subject):
                self._term()
            settlement = await handle(delivery)
            if isinstance(settlement, Ack) and after_ack and after_ack.fires(delivery.subject):
                self._kill_soon()
            elif work.is_doomed:
                work.strike()
                self._kill_soon()
            return settlement

        return run

    def around_app(self, app: App) -> App:
        """The API's application: knows whose request it is."""
        if not self._points:
            return app
        name = H_SUBJECT.encode()

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            subject = dict(scope.get("headers", ())).get(name, b"")
            work = self._begin(subject.decode(errors="replace"))
            await app(scope, receive, send)
            if work.is_doomed:
                work.strike()
                await self.die()

        return run

    # ---- for ports

    async def die(self) -> NoReturn:
        """Kill this process at this await."""
        self._kill()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a dead process went on")

    def strikes(self, hook: Hook, call: Call) -> bool:
        """Whether the process dies at this point now."""
        subjects = hook.visits(call)
        if subjects is None:
            work = _WORK.get()
            subjects = () if work is None else (work.subject,)
        site = self._points[hook.point]
        return site.fires_once(subjects) is not None

    def strikes_any(self) -> bool:
        """Whether the work at hand dies at this boundary."""
        work = _WORK.get()
        return work is not None and work.passes()

    def strikes_drain(self) -> bool:
        """Whether the process dies in the middle of its drain."""
        site = self._points.get(MID_DRAIN)
        return self._is_draining and site is not None and site.fires(self._process) is not None

    def begin_batch(self, subjects: Sequence[str]) -> None:
        """The relay begins a batch: at most one of its orders dooms it."""
        if ANY in self._points:
            for subject in subjects:
                if self._begin(subject).is_doomed:
                    return

    def ends_batch(self) -> bool:
        """The relay has marked its batch: whether it dies at the end of it."""
        work = _WORK.get()
        if work is None or not work.is_doomed:
            return False
        work.strike()
        return True

    @property
    def has_any(self) -> bool:
        """Whether the crash point `any` is wanted."""
        return ANY in self._points

    @property
    def role(self) -> Role:
        """What the process is for."""
        return self._role

    def _wants(self, point: str) -> bool:
        return self._plan.wants(CRASH, point)

    def _begin(self, subject: str) -> "_Work":
        """A delivery, request or batch begins in the running task; `any` tosses its coin."""
        work = _Work(subject)
        site = self._points.get(ANY)
        if site is not None:
            firing = site.tosses(subject)
            if firing is not None:
                u = self._plan.coin("boundary", intent_of(subject), firing.occurrence)
                work.doom(site, firing, int(u * BOUNDARIES[self._role]))
        _WORK.set(work)
        return work

    def _kill_soon(self) -> None:
        # The step that settles the delivery comes first.
        asyncio.get_running_loop().call_soon(self._kill)


class _Work:
    """What a task is at (delivery, request or batch), and at which boundary it dies, if any."""

    __slots__ = ("_firing", "_left", "_site", "subject")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._site: Site | None = None
        self._firing: Firing | None = None
        self._left = 0

    def doom(self, site: Site, firing: Firing, boundary: int) -> None:
        """It dies when it has passed so many boundaries, or at its end."""
        self._site, self._firing, self._left = site, firing, boundary

    @property
    def is_doomed(self) -> bool:
        """It is to die and has not yet. Healing saves it."""
        return self._site is not None and self._firing is not None and self._site.is_active

    def passes(self) -> bool:
        """It passes a boundary; whether it dies there."""
        if not self.is_doomed:
            return False
        if self._left:
            self._left -= 1
            return False
        self.strike()
        return True

    def strike(self) -> None:
        """It dies now."""
        assert self._site is not None
        assert self._firing is not None
        self._site.strike(self._firing)
        self._firing = None


_WORK: ContextVar[_Work | None] = ContextVar("work", default=None)
"""The work of the running task, and of the tasks that it starts."""


class _Around:
    """A port with crash points around its calls. Everything else is the port's own."""

    def __init__(
        self, faults: ProcessFaults, port: Port, inner: object, hooks: Sequence[Hook]
    ) -> None:
        self._inner = inner
        for method in awaited_methods(port):
            call = getattr(inner, method, None)
            if call is not None:
                setattr(self, method, _bounded(faults, port, method, call, hooks))

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def _bounded(
    faults: ProcessFaults,
    port: Port,
    method: str,
    call: Callable[..., Awaitable[object]],
    hooks: Sequence[Hook],
) -> Callable[..., Awaitable[object]]:
    """One method of a port, with every boundary that lies at it."""
    mine = [hook for hook in hooks if hook.method == method]
    before = [hook for hook in mine if hook.moment is Moment.BEFORE]
    after = [hook for hook in mine if hook.moment is Moment.AFTER]
    counts = faults.has_any and not method.startswith("wait_") and port is not Port.CONSUMER
    may_drain = port is Port.CONSUMER and method in ("commit", "leave")
    is_claim = faults.role is Role.RELAY and method == "unpublished"
    is_mark = faults.role is Role.RELAY and method == "mark_published"

    async def bounded(*args: object, **kwargs: object) -> object:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if any(faults.strikes(hook, Call(first)) for hook in before):
            await faults.die()
        if (counts and faults.strikes_any()) or (may_drain and faults.strikes_drain()):
            await faults.die()
        result = await call(*args, **kwargs)
        if is_claim:
            assert isinstance(result, Sequence)
            faults.begin_batch([row.envelope.lab_subject for row in result])
        if any(faults.strikes(hook, Call(first, result)) for hook in after):
            await faults.die()
        if (counts and faults.strikes_any()) or (is_mark and faults.ends_batch()):
            await faults.die()
        return result

    return bounded
