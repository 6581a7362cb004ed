"""A request on its way to a third party: latency, deadline, faults, and the answer.

A request is handed over inside the call and lives on the timers from then on, also without its
caller. An answer whose time lies before the deadline takes one timer. One that would come later
never comes: the caller learns nothing, and the request was executed iff half of its latency lies
before the deadline.

Not here: the servers (one file per provider), and any wire.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVarTuple, Unpack

from lab.domain.errors import LabError, Transient
from lab.ports.faults import CallFault, CallFaultKind, CallFaults
from lab.providers.core import (
    CONNECTION_LOST,
    DAY_US,
    NO_ANSWER,
    UNREADABLE,
    Answer,
    Refused,
    Request,
    error_of,
)

Ts = TypeVarTuple("Ts")

NO_DEADLINE_US: Final = 3_650 * DAY_US
"""A call with ten years left has no deadline: no timer is set, and without an answer it hangs."""


class WireTimers(Protocol):
    """The loop of the harness, on which a request lives."""

    def call_after_us(
        self, delay_us: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts
    ) -> object:
        """Run `callback` in `delay_us` from now."""
        ...


class Caller(Protocol):
    """The loop of the process that calls."""

    @property
    def dead(self) -> bool:
        """It was killed: nothing of it may be touched any more."""
        ...

    def now_us(self) -> int:
        """The clock that deadlines are measured by."""
        ...

    def create_future(self) -> asyncio.Future[Answer]:
        """A future that this process can wait for."""
        ...


class OtherEnd(Protocol):
    """The server at the other end, as far as a line needs it. `Server` defines each call."""

    @property
    def name(self) -> str:
        """The provider's."""
        ...

    def latency_us(self, request: Request) -> int:
        """How long this request takes."""
        ...

    def arrive(self, request: Request) -> Refused | None:
        """A request with a key was handed over."""
        ...

    def execute(self, request: Request) -> Answer:
        """Do it, and answer."""
        ...

    def execute_late(self, request: Request) -> Answer:
        """Do it after its deadline."""
        ...

    def refuse(self, request: Request) -> Answer:
        """Say no for good."""
        ...

    def drop(self, request: Request) -> None:
        """It will not be executed."""
        ...

    def has_answer(self, request: Request) -> bool:
        """Whether its key has a stored answer."""
        ...

    def keep_failure(self, request: Request, refused: Refused, *, instead: bool = False) -> object:
        """It was executed and failed; `instead` of the answer that it got just now."""
        ...

    def told(self, request: Request, answer: Answer) -> None:
        """The caller is given this answer; `NO_ANSWER`: it waited for one in vain."""
        ...


class SimulatedWire:
    """One process's line to one provider.

    Args:
        server: the other end.
        caller: loop of the process.
        timers: loop of the harness.
        subject_of: the order as `ordinal.send`, of its id.
        faults: decides which calls go wrong; None if none can.
        is_remote: the caller is at the other end of a wire and gives up by himself, so that an
            answer that comes after his deadline is sent to him all the same.
    """

    __slots__ = ("_after_us", "_caller", "_faults", "_is_remote", "_server", "subject_of")

    def __init__(
        self,
        server: OtherEnd,
        *,
        caller: Caller,
        timers: WireTimers,
        subject_of: Callable[[str], str],
        faults: CallFaults | None = None,
        is_remote: bool = False,
    ) -> None:
        self._server = server
        self._caller = caller
        self._after_us = timers.call_after_us
        self.subject_of = subject_of
        self._faults = faults
        self._is_remote = is_remote

    def send(self, request: Request, deadline_us: int) -> asyncio.Future[Answer]:
        """Hand a request over; the future gets its answer, `Refused` ones too.

        Raises:
            Transient: the deadline has passed already; nothing was handed over.
        """
        caller, server = self._caller, self._server
        left_us = deadline_us - caller.now_us()
        if left_us <= 0:
            raise Transient(f"{server.name} was not called: the deadline had passed")
        future = caller.create_future()
        latency_us = server.latency_us(request)
        if request.key:
            conflict = server.arrive(request)
            if conflict is not None:
                server.told(request, conflict)
                self._after_us(min(latency_us, left_us), self._answer, future, conflict)
                return future
        if self._faults is not None:
            fault = self._faults.strike(server.name, request.action, request.subject)
            if fault is not None:
                self._go_wrong(fault, future, request, latency_us, left_us)
                return future
        self._go(future, request, latency_us, left_us)
        return future

    def error(self, refused: Refused) -> LabError:
        """The error that the caller raises for it."""
        return error_of(self._server.name, refused)

    def _go(
        self, future: asyncio.Future[Answer], request: Request, latency_us: int, left_us: int
    ) -> None:
        """Do it and answer, as far as the time allows."""
        if latency_us <= left_us:
            self._after_us(latency_us, self._finish, future, request)
        else:
            self._go_silent(future, request, latency_us // 2, left_us)

    def _finish(self, future: asyncio.Future[Answer], request: Request) -> None:
        self._end(future, request, self._server.execute(request))

    def _say_no(self, future: asyncio.Future[Answer], request: Request) -> None:
        self._end(future, request, self._server.refuse(request))

    def _end(self, future: asyncio.Future[Answer], request: Request, answer: Answer) -> None:
        if not request.key or answer.__class__ is Refused:
            self._server.told(request, answer)
        self._answer(future, answer)

    def _answer(self, future: asyncio.Future[Answer], answer: Answer) -> None:
        # A future of a dead process is never touched; a cancelled one waits for nothing.
        if not self._caller.dead and not future.done():
            future.set_result(answer)

    def _go_silent(
        self, future: asyncio.Future[Answer], request: Request, effect_us: int, left_us: int
    ) -> None:
        """No answer; the effect in `effect_us`, if that is before the deadline."""
        if effect_us < left_us:
            self._after_us(effect_us, self._server.execute, request)
        if left_us < NO_DEADLINE_US:
            self._after_us(left_us, self._give_up, future, request)

    def _give_up(self, future: asyncio.Future[Answer], request: Request) -> None:
        self._server.drop(request)
        self._server.told(request, NO_ANSWER)
        self._answer(future, NO_ANSWER)

    def _go_wrong(
        self,
        fault: CallFault,
        future: asyncio.Future[Answer],
        request: Request,
        latency_us: int,
        left_us: int,
    ) -> None:
        match fault.kind:
            case CallFaultKind.ERROR if latency_us <= left_us:
                self._after_us(latency_us, self._fail, future, request, fault)
            case CallFaultKind.REFUSED if latency_us <= left_us:
                self._after_us(latency_us, self._say_no, future, request)
            case CallFaultKind.ACTS_LATE:
                self._act_late(fault, future, request, latency_us, left_us)
            case CallFaultKind.HANG_AFTER_EFFECT:
                self._go_silent(future, request, _in_time_us(latency_us, left_us), left_us)
            case CallFaultKind.LATE_REPLY:
                effect_us = _in_time_us(latency_us, left_us)
                until_us = left_us if left_us < NO_DEADLINE_US else effect_us
                reply_us = until_us - effect_us + fault.by_us
                waits_for_ever = until_us != left_us
                self._after_us(
                    effect_us, self._finish_late, future, request, reply_us, waits_for_ever
                )
                if not (waits_for_ever or self._is_remote):
                    self._after_us(left_us, self._give_up, future, request)
            case CallFaultKind.SLOW:
                self._go(future, request, latency_us * fault.times + fault.by_us, left_us)
            case CallFaultKind.MALFORMED if latency_us <= left_us:
                self._after_us(latency_us, self._garble, future, request)
            case CallFaultKind.MALFORMED:
                self._go(future, request, latency_us, left_us)
            case _:
                # The request never got there: its key is not in flight.
                self._server.drop(request)
                self._go_silent(future, request, left_us, left_us)

    def _act_late(
        self,
        fault: CallFault,
        future: asyncio.Future[Answer],
        request: Request,
        latency_us: int,
        left_us: int,
    ) -> None:
        """No answer, and the effect after the deadline; until then the request is under way."""
        until_us = left_us if left_us < NO_DEADLINE_US else latency_us
        if not fault.is_seen:
            # It is still on its way, so the server cannot call it pending, nor answer 409.
            self._server.drop(request)
        self._after_us(until_us + fault.by_us, self._server.execute_late, request)
        if fault.is_cut:
            self._after_us(min(latency_us, until_us), self._lose, future, request, CONNECTION_LOST)
        elif until_us == left_us:
            self._after_us(left_us, self._lose, future, request, NO_ANSWER)

    def _lose(self, future: asyncio.Future[Answer], request: Request, answer: Answer) -> None:
        """The caller learns nothing, and the request is still under way."""
        self._server.told(request, NO_ANSWER)
        self._answer(future, answer)

    def _fail(self, future: asyncio.Future[Answer], request: Request, fault: CallFault) -> None:
        server, refused = self._server, Refused(fault.status, fault.after_us)
        # An old answer that is given again is not the one that fails.
        is_first = fault.is_done and not server.has_answer(request)
        if fault.is_done:
            server.execute(request)
        server.drop(request)
        if fault.is_stored:
            server.keep_failure(request, refused, instead=is_first)
        server.told(request, refused)
        self._answer(future, refused)

    def _finish_late(
        self,
        future: asyncio.Future[Answer],
        request: Request,
        reply_us: int,
        waits_for_ever: bool,  # noqa: FBT001 - a timer passes arguments by their place
    ) -> None:
        """Do it now, answer in `reply_us`: by then the caller has given up, if he ever does."""
        answer = self._server.execute(request)
        if waits_for_ever:
            self._server.told(request, answer)
        elif self._is_remote:
            self._server.told(request, NO_ANSWER)
        self._after_us(reply_us, self._answer, future, answer)

    def _garble(self, future: asyncio.Future[Answer], request: Request) -> None:
        """Do it, and give an answer that nobody can read, if the caller is to get one."""
        answer = self._server.execute(request)
        if answer != NO_ANSWER:
            answer = Refused(UNREADABLE, is_move=bool(request.key))
        self._server.told(request, answer)
        self._answer(future, answer)


def _in_time_us(latency_us: int, left_us: int) -> int:
    """When something is executed that is executed in any case."""
    return latency_us if latency_us < left_us else left_us // 2
