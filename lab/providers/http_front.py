"""The HTTP front of the four third parties: one process, and ledgers that outlive it.

A request lives on the same line as in the simulated world, so latencies, keys, faults and deadlines
mean the same. Two things are added. A process may have been stopped when a timer was due, so the
deadline is looked at again before anything is done. And every movement is in the ledger's file
before anybody hears of it. A caller that is to get no answer waits until it hangs up itself.

Not here: the choice of calls that go wrong (`CallFaults`), the effects (one file per provider).
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, TypeVarTuple, Unpack

import msgspec
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lab.domain.errors import Transient
from lab.ports.clock import Clock
from lab.ports.faults import CallFaults
from lab.providers import wire
from lab.providers.core import (
    CONNECTION_LOST,
    NO_ANSWER,
    UNREADABLE,
    Answer,
    Refused,
    Request,
    Server,
)
from lab.providers.ledger_file import LedgerFile, ledger_entries
from lab.providers.simulated_wire import NO_DEADLINE_US, OtherEnd, SimulatedWire

Ts = TypeVarTuple("Ts")
Headers = tuple[tuple[bytes, bytes], ...]

BODY_BYTES_MAX: Final = 512 * 1024
HEADER_LENGTH_MAX: Final = 255

_MS: Final = 1_000
_DIGITS_MAX: Final = 17
_LEDGER_LINES: Final = 500
_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_NDJSON: Final = (b"content-type", b"application/x-ndjson")
_TIMEOUT: Final = wire.TIMEOUT_MS.encode()
_DEADLINE: Final = wire.DEADLINE_MS.encode()
_SUBJECT: Final = wire.SUBJECT.encode()
_KEY: Final = wire.KEY.encode()


def make_front(
    servers: Sequence[Server],
    *,
    ledger: LedgerFile,
    clock: Clock,
    faults: CallFaults | None = None,
    skew_us: int = 0,
) -> Starlette:
    """The ASGI app of the third parties.

    `POST /<provider>/<action>` asks; `GET /ledger` gives every `ledger` fact as a line of JSON;
    `/health` and `/ready` say whether the ledger can be written.

    Args:
        servers: built with `ledger.write` and `clock.now_us`, and not used yet; they get back
            their knowledge from before.
        ledger: where they write.
        clock: the machine's.
        faults: decides which calls go wrong; None if none can.
        skew_us: by so much at most a clock that is behind may make a call act late.
    """
    ledger.restore(servers)
    desk = _Desk(ledger, clock, faults, skew_us)
    routes = [
        Route(
            wire.path_of(server.name, action),
            _Endpoint(desk, server, action),
            methods=["POST"],
            name=f"{server.name}.{action}",
        )
        for server in servers
        for action in wire.ACTIONS[server.name]
    ]
    routes += [
        Route("/ledger", _Ledger(ledger), methods=["GET"], name="ledger"),
        Route("/health", _Health(ledger, "/health"), methods=["GET"], name="health"),
        Route("/ready", _Health(ledger, "/ready"), methods=["GET"], name="ready"),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


class _Bad(Exception):
    """A request that nobody could carry out."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Gone(Exception):
    """The caller hung up before he had said everything."""


class _Desk:
    """Where requests are carried out, whichever server they are for."""

    dead: Final = False

    def __init__(
        self, ledger: LedgerFile, clock: Clock, faults: CallFaults | None, skew_us: int
    ) -> None:
        self.ledger = ledger
        self._skew_us = skew_us
        self._clock = clock
        self._faults = faults

    def now_us(self) -> int:
        """See `lab.providers.simulated_wire.Caller`."""
        return self._clock.now_us()

    def create_future(self) -> "asyncio.Future[Answer]":
        """See `lab.providers.simulated_wire.Caller`."""
        return asyncio.get_running_loop().create_future()

    def call_after_us(
        self, delay_us: int, callback: Callable[[Unpack[Ts]], object], *args: *Ts
    ) -> object:
        """See `lab.providers.simulated_wire.WireTimers`."""
        return asyncio.get_running_loop().call_later(delay_us / 1e6, callback, *args)

    def deadline_us(self, timeout_ms: int | None, deadline_ms: int | None) -> int:
        """Until when a request that came in now may be executed, on the clock of this process."""
        left_us = 2 * NO_DEADLINE_US
        if timeout_ms is not None:
            left_us = timeout_ms * _MS
        if deadline_ms is not None:
            left_us = min(left_us, deadline_ms * _MS - self._clock.wall_us())
        return self.now_us() + left_us

    async def carry_out(self, server: Server, request: Request, deadline_us: int) -> Answer:
        """The answer, `NO_ANSWER` if there is to be none. Raises Transient if it came too late."""
        line = SimulatedWire(
            _Punctual(server, self.ledger, self.now_us, deadline_us, self._skew_us),
            caller=self,
            timers=self,
            subject_of=str,
            faults=self._faults,
            is_remote=True,
        )
        return await line.send(request, deadline_us)


class _Punctual(OtherEnd):
    """A server as a request with a deadline sees it."""

    def __init__(
        self,
        server: Server,
        ledger: LedgerFile,
        now_us: Callable[[], int],
        deadline_us: int,
        skew_us: int,
    ) -> None:
        self._server = server
        self._skew_us = skew_us
        self._ledger = ledger
        self._now_us = now_us
        self._deadline_us = deadline_us

    @property
    def name(self) -> str:
        return self._server.name

    def latency_us(self, request: Request) -> int:
        return self._server.latency_us(request)

    def arrive(self, request: Request) -> Refused | None:
        return self._server.arrive(request)

    def drop(self, request: Request) -> None:
        self._server.drop(request)

    def has_answer(self, request: Request) -> bool:
        return self._server.has_answer(request)

    def execute(self, request: Request) -> Answer:
        """Do it, if it is not too late, and write it down. Without a ledger nobody is told."""
        return self._carry_out(request, self._server.execute, 0)

    def execute_late(self, request: Request) -> Answer:
        """As `execute`, by a clock that is behind, but never by more than is tolerated."""
        return self._carry_out(request, self._server.execute_late, self._skew_us)

    def refuse(self, request: Request) -> Answer:
        """As `execute`, and the answer is a no."""
        return self._carry_out(request, self._server.refuse, 0)

    def keep_failure(self, request: Request, refused: Refused, *, instead: bool = False) -> None:
        """Store a failure, if it is not too late, and write that down."""
        if not self._is_too_late(0) and self._server.keep_failure(
            request, refused, instead=instead
        ):
            self._ledger.keep_failure(self.name, request, refused)

    def _carry_out(self, request: Request, do: Callable[[Request], Answer], late_us: int) -> Answer:
        if self._is_too_late(late_us):
            self.drop(request)
            return NO_ANSWER
        answer = do(request)
        self._ledger.keep(self.name, request, answer)
        return answer if self._ledger.failure is None else NO_ANSWER

    def told(self, request: Request, answer: Answer) -> None:
        """Write down what the caller is told now."""
        self._server.told(request, answer)
        self._ledger.keep_told(self.name, request)

    def _is_too_late(self, late_us: int) -> bool:
        is_over = self._now_us() > self._deadline_us + late_us
        return is_over or self._ledger.failure is not None


class _Endpoint:
    """One action of one provider; `route` is what its requests are counted under."""

    def __init__(self, desk: _Desk, server: Server, action: str) -> None:
        self.route = wire.path_of(server.name, action)
        self._desk = desk
        self._server = server
        self._action = action

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The time runs from here on, however slowly the body comes.
            deadline_us, key, subject = self._read_headers(scope)
            asked = wire.read_asked(await _read_body(receive))
            request = _request(self._action, asked, key, subject)
        except _Gone:
            return
        except wire.MalformedExchange as malformed:
            await _send_problem(send, 400, str(malformed))
            return
        except _Bad as bad:
            await _send_problem(send, bad.status, str(bad))
            return
        try:
            answer = await self._desk.carry_out(self._server, request, deadline_us)
            if answer == NO_ANSWER:
                await _hung_up(receive)
                return
            if answer == CONNECTION_LOST:
                await _tear(send)
                return
        except Transient as late:
            await _send_problem(send, 504, str(late))
            return
        except asyncio.CancelledError:
            # The server stops. A status would tell the fate of the request; a torn answer
            # says that nobody knows.
            await _tear(send)
            raise
        await _send_answer(send, answer)

    def _read_headers(self, scope: Scope) -> tuple[int, str, str]:
        """Deadline, key and subject."""
        timeout_ms = deadline_ms = None
        key = subject = ""
        for name, value in scope["headers"]:
            if name == _TIMEOUT:
                timeout_ms = _milliseconds(name, value)
            elif name == _DEADLINE:
                deadline_ms = _milliseconds(name, value)
            elif name == _KEY:
                key = _text(name, value)
            elif name == _SUBJECT:
                subject = _text(name, value)
        if self._action in wire.MOVES and not key:
            raise _Bad(400, f"{self._action} takes an Idempotency-Key")
        return self._desk.deadline_us(timeout_ms, deadline_ms), key, subject


class _Ledger:
    """Everything that was done, oldest first."""

    route: Final = "/ledger"

    def __init__(self, ledger: LedgerFile) -> None:
        self._path = ledger.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the shape of any ASGI app
        entries = ledger_entries(self._path)
        await send({"type": "http.response.start", "status": 200, "headers": [_NDJSON]})
        while lines := [wire.encode(entry) for entry in islice(entries, _LEDGER_LINES)]:
            body = b"\n".join((*lines, b""))
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Health:
    """Whether requests can be carried out."""

    def __init__(self, ledger: LedgerFile, route: str) -> None:
        self.route = route
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the shape of any ASGI app
        failure = self._ledger.failure
        if failure is not None:
            await _send_problem(send, 503, f"the ledger cannot be written: {failure.strerror}")
            return
        await _send(send, 200, b'{"status":"ok"}', (_JSON,))


def _request(action: str, asked: wire.Asked, key: str, subject: str) -> Request:
    if not asked.order_id or asked.amount_cents < 0:
        raise _Bad(400, "a request names an order and no negative amount")
    return Request(
        action,
        asked.order_id,
        subject,
        key,
        asked.amount_cents,
        asked.currency,
        asked.about,
        asked.items,
    )


def _milliseconds(name: bytes, value: bytes) -> int:
    # bytes.isdigit knows ASCII digits only.
    if not value.isdigit() or len(value) > _DIGITS_MAX:
        raise _Bad(400, f"{name.decode()} is a number of milliseconds")
    return int(value)


def _text(name: bytes, value: bytes) -> str:
    text = value.decode("latin-1")
    if len(text) > HEADER_LENGTH_MAX or not (text.isascii() and text.isprintable()):
        raise _Bad(400, f"{name.decode()} has at most {HEADER_LENGTH_MAX} printable characters")
    return text


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    taken = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunks.append(message.get("body", b""))
        taken += len(chunks[-1])
        if taken > BODY_BYTES_MAX:
            raise _Bad(413, f"at most {BODY_BYTES_MAX} bytes are taken")
        if not message.get("more_body"):
            return b"".join(chunks)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_answer(send: Send, answer: Answer) -> None:
    if not isinstance(answer, Refused):
        await _send(send, 200, wire.body_of_answer(answer), (_JSON,))
        return
    if answer.status == UNREADABLE:
        await _send(send, UNREADABLE, wire.GARBAGE, (_JSON,))
        return
    hint: Headers = ()
    if answer.after_us:
        after_ms = -(-answer.after_us // _MS)
        hint = (
            (wire.RETRY_AFTER.encode(), b"%d" % -(-after_ms // 1_000)),
            (wire.RETRY_AFTER_MS.encode(), b"%d" % after_ms),
        )
    if answer.is_replayed:
        hint = (*hint, (wire.REPLAYED.encode(), b"true"))
    await _send_problem(send, answer.status, "not carried out", hint)


async def _send_problem(send: Send, status: int, detail: str, headers: Headers = ()) -> None:
    body = msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail})
    await _send(send, status, body, (_PROBLEM, *headers))


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    await _send_start(send, status, len(body), headers)
    await send({"type": "http.response.body", "body": body})


async def _tear(send: Send) -> None:
    """An answer that ends before its body does: the caller learns nothing from it."""
    await _send_start(send, 200, 1, (_JSON,))


async def _send_start(send: Send, status: int, length: int, headers: Headers) -> None:
    listed = [*headers, (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": status, "headers": listed})
