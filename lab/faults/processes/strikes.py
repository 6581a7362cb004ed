"""Faults of processes: dying at a crash point, being told to stop, paused or cancelled at work.

One `ProcessFaults` belongs to one process life. It goes around its ports, between the recording of
calls and the adapter, and around its outermost and its innermost handler. A crash is a call of the
supervisor's `kill` and an await that never returns.

Not here: the names of the points (`table/crash_points.py`), the calls at which they lie
(`crash_sites.py`), the wrapped ports (`around_ports.py`), the dooms of a piece of work
(`work_at_hand.py`), and the kill and restart of a process (the supervisor).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NoReturn, TypeVar

from lab.domain.events import Payload
from lab.faults.plan.plan import FaultPlan, Firing, Site, intent_of
from lab.faults.processes.around_ports import Strikes, bounded_calls
from lab.faults.processes.crash_sites import HOOKS, Call, Hook, Role
from lab.faults.processes.work_at_hand import WORK, Doom, Work
from lab.faults.requests import App, Receive, Scope, Send, subject_of_request
from lab.faults.table.crash_points import ANY, CRASH_POINTS, MID_DRAIN
from lab.ports.bus import Ack, Consumer, Delivery, Handle, Settlement
from lab.ports.every_call import PortType, around_every_call
from lab.ports.service import Context, Handler

P = TypeVar("P")

CRASH: Final = "proc.crash"
TERM: Final = "proc.term"
PAUSE: Final = "proc.pause"
CANCEL: Final = "proc.cancel"
CRASH_LOOP: Final = "proc.crash_loop"
_ALL: Final = (CRASH, TERM, PAUSE, CANCEL, CRASH_LOOP)

BOUNDARIES: Final = {Role.API: 4, Role.RELAY: 5, Role.CONSUMER: 24}
"""The number of port-call boundaries of which `any` draws one; shorter work dies at its end."""

CANCELLED_IN: Final = (0, 9)
PAUSED_IN: Final = (3, 9)
"""Boundaries of a delivery, from and before: nearly every handled delivery has so many.

The first four lie around the look at its key and the claim: a process that stands still holds it.
"""

_AFTER_ACK: Final = "handler.after_ack"


class ProcessFaults(Strikes):
    """The `proc.*` faults of one process life that strike on a visit.

    Args:
        role: of the process.
        group: its consumer group, or its role.
        process: its member name, such as `payment-1`: the subject of `shutdown.mid_drain`.
        kill: ends the process life at once; returns to the step that it ends.
        term: tells the process to stop; returns at once.
        pause: stops the process, as SIGSTOP does, for so many microseconds; it may take effect
            with the next suspension.
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
        pause: Callable[[int], object],
    ) -> None:
        self._plan = plan
        self._role = role
        self._group = group
        self._process = process
        self._kill = kill
        self._term = term
        self._pause = pause
        self._points = {
            name: plan.at(CRASH, name) for name in CRASH_POINTS if plan.wants(CRASH, name)
        }
        self._any_site = self._points.get(ANY)
        self._term_site = self._site(TERM)
        self._pause_site = self._site(PAUSE)
        self._cancel_site = self._site(CANCEL)
        self._loop_site = self._site(CRASH_LOOP)
        self._is_draining = False

    @staticmethod
    def is_wanted(plan: FaultPlan) -> bool:
        """Whether the run has faults that need this."""
        return any(plan.wants(kind) for kind in _ALL)

    def begin_drain(self) -> None:
        """The process was told to stop: from now on it may die at `shutdown.mid_drain`."""
        self._is_draining = True

    # ---- around ports, chain and handlers

    def around(self, port: PortType[P], inner: P) -> P:
        """The port with its crash points; `inner` itself if none of them is wanted."""
        hooks = [
            hook
            for hook in HOOKS
            if hook.role is self._role and hook.port is port and hook.point in self._points
        ]
        drains = port is Consumer and self.has_mid_drain
        if not hooks and not drains and not self.has_boundaries:
            return inner
        return around_every_call(port, inner, bounded_calls(self, port, hooks))

    def around_handle(self, handle: Handle) -> Handle:
        """The outermost link of a chain, which notes the order and may die after the ack.

        It is called in the task that handles the delivery.
        """
        wanted = {_AFTER_ACK, *(hook.point for hook in HOOKS if hook.role is self._role)}
        term = self._term_site
        if term is None and not self.has_boundaries and not wanted & self._points.keys():
            return handle
        after_ack = self._points.get(_AFTER_ACK)

        def run(delivery: Delivery) -> Awaitable[Settlement]:
            work = self._begin(delivery.subject)
            if term is not None and term.fires(delivery.subject):
                self._term()
            # Few deliveries are struck; the others have no further coroutine around their steps.
            is_safe = after_ack is None and not work.dooms
            return handle(delivery) if is_safe else struck(delivery, work)

        async def struck(delivery: Delivery, work: Work) -> Settlement:
            settlement = await handle(delivery)
            if isinstance(settlement, Ack) and after_ack and after_ack.fires(delivery.subject):
                self._kill_soon()
            elif work.is_doomed:
                await work.ends()
            return settlement

        return run

    def around_handlers(self, handlers: Mapping[str, Handler]) -> Mapping[str, Handler]:
        """The handlers of the service, each of which may kill its process when it starts."""
        site = self._loop_site
        if site is None:
            return handlers

        def deadly(handler: Handler) -> Handler:
            async def run(payload: Payload, context: Context) -> None:
                # The cause lies in the record, so it outlives the faults, as poison does.
                if site.marks(context.envelope.lab_subject):
                    await self.die()
                await handler(payload, context)

            return run

        return {kind: deadly(handler) for kind, handler in handlers.items()}

    def around_app(self, app: App) -> App:
        """The API's application, with a note of the order of each request."""
        if not self._points:
            return app

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            work = self._begin(subject_of_request(scope))
            await app(scope, receive, send)
            if work.is_doomed:
                await work.ends()

        return run

    # ---- for ports

    @property
    def role(self) -> Role:
        return self._role

    @property
    def has_boundaries(self) -> bool:
        return bool(self._any_site or self._pause_site or self._cancel_site)

    async def die(self) -> NoReturn:
        self._kill()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a dead process went on")

    def strikes(self, hook: Hook, call: Call) -> bool:
        subjects = hook.visits(call)
        if subjects is None:
            work = WORK.get()
            subjects = () if work is None else (work.subject,)
        site = self._points[hook.point]
        return site.fires_once(subjects) is not None

    @property
    def has_mid_drain(self) -> bool:
        return MID_DRAIN in self._points

    def strikes_drain(self) -> bool:
        site = self._points[MID_DRAIN]
        return self._is_draining and site.fires(self._process) is not None

    def begin_batch(self, subjects: Sequence[str]) -> None:
        """At most one order dooms a batch."""
        if self._any_site is not None:
            for subject in subjects:
                if self._begin(subject).is_doomed:
                    return

    # ---- one piece of work

    def _site(self, kind: str) -> Site | None:
        wants = self._plan.wants(kind, self._group)
        return self._plan.at(kind, self._group) if wants else None

    def _begin(self, subject: str) -> Work:
        """A delivery, request or batch begins in the running task: every coin is tossed."""
        work = Work(subject)
        WORK.set(work)
        crash = self._any_site
        if crash is not None and (firing := crash.tosses(subject)) is not None:
            end = self._die_soon if self._role is Role.CONSUMER else self._die
            self._doom(work, crash, firing, (0, BOUNDARIES[self._role]), self._die, end)
        # Only deliveries: the sites of these two are consumer groups.
        pause, cancel = self._pause_site, self._cancel_site
        if pause is not None and (firing := pause.tosses(subject)) is not None:
            self._doom(work, pause, firing, PAUSED_IN, self._stop, self._stop_soon)
        if cancel is not None and (firing := cancel.tosses(subject)) is not None:
            self._doom(work, cancel, firing, CANCELLED_IN, self._cancel, self._cancel)
        return work

    def _doom(
        self,
        work: Work,
        site: Site,
        firing: Firing,
        boundaries: tuple[int, int],
        strike: Callable[[Firing, Work], Awaitable[None]],
        strike_end: Callable[[Firing, Work], Awaitable[None]],
    ) -> None:
        key = ("boundary", intent_of(work.subject), firing.occurrence)
        # Different faults of one delivery fall on different boundaries.
        draw = self._plan.chance.u
        u = draw(*key) if site.kind == CRASH else draw(*key, site.kind)
        low, high = boundaries
        work.doom(
            Doom(
                site=site,
                firing=firing,
                left=low + int(u * (high - low)),
                strike=strike,
                strike_end=strike_end,
            )
        )

    # ---- the strikes

    async def _die(self, _firing: Firing, _work: Work) -> None:
        await self.die()

    async def _die_soon(self, _firing: Firing, _work: Work) -> None:
        self._kill_soon()

    async def _stop(self, firing: Firing, work: Work) -> None:
        await self._stop_soon(firing, work)
        # The process stands still at this await.
        await asyncio.sleep(0)

    async def _stop_soon(self, firing: Firing, _work: Work) -> None:
        self._pause(firing.number("by"))

    async def _cancel(self, _firing: Firing, work: Work) -> None:
        assert work.task is not None, "deliveries are handled in tasks"
        work.task.cancel()
        await asyncio.sleep(0)

    def _kill_soon(self) -> None:
        # The step that settles the delivery comes first.
        asyncio.get_running_loop().call_soon(self._kill)
