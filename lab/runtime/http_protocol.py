"""One connection to an HTTP server of ours: uvicorn's protocol, and what it cannot be told.

uvicorn and httptools parse, queue, answer and date; neither has a deadline for a head or a body, a
bound for a head, or an eye on `Host`, and what they refuse they refuse in plain text. Not here: the
server (`http_server`), and a limit of the body, which is its app's.

Source: RFC 9110 (408, 431), RFC 9112 (3.2: Host; 9.6: closing), RFC 9457 (problem details).
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lab.domain.answers import (
    MALFORMED_HTTP,
    PROBLEM,
    PROBLEMS,
    SHED,
    SLOW,
    TOO_LONG_HEAD,
    problem_of,
)

LINGER_S: Final = 1
"""A connection that we close stays open to its client's bytes for so long: closed upon bytes that
nobody has read, it would be reset, and the answer lost with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """The patience of a server with one request.

    Attributes:
        head_us: from the first byte of a request, or from a new connection, to the end of its head.
        body_us: from there to the end of its body.
        head_bytes: of request line and headers.
    """

    head_us: int = 10_000_000
    body_us: int = 10_000_000
    head_bytes: int = 16 * 1024


class ServerConfig(uvicorn.Config):
    """uvicorn's, with our limits beside it."""

    read_limits = ReadLimits()


class _Refused(Exception):
    """Ends the parser's work on a request."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose client can stall, or go on for ever, only within bounds.

    A request that comes whole, as nearly all do, costs no timer.
    """

    def __init__(self, config: uvicorn.Config, *args: Any, **more: Any) -> None:
        super().__init__(config, *args, **more)
        assert isinstance(config, ServerConfig)
        self._limits = config.read_limits
        self._awaits = ""
        self._timed = ""
        self._timer: asyncio.TimerHandle | None = None
        self._later_head_bytes = 0
        self._refusal = MALFORMED_HTTP
        self._is_over = False

    # ---- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._time("silence", self._limits.head_us)

    def connection_lost(self, exc: Exception | None) -> None:
        self._untime()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_over:
            in_head = self._awaits == "head"
            super().data_received(data)
            self._look(data, in_head=in_head)

    def _look(self, data: bytes, *, in_head: bool) -> None:
        """After the parser has had `data`: bound the head, and time what is still to come."""
        if self._is_over:
            return
        if self._awaits == "head":
            # Nobody knows where in its first piece a head began: of that its whole lines count.
            self._later_head_bytes += len(data) if in_head else 0
            if max(self._later_head_bytes, self._head_bytes()) > self._limits.head_bytes:
                self._refuse(TOO_LONG_HEAD)
                return
        if self._awaits:
            limits = self._limits
            self._time(self._awaits, limits.body_us if self._awaits == "body" else limits.head_us)
        elif self.timeout_keep_alive_task is None and self._is_idle():
            # Blank lines before a request, which end uvicorn's own timer.
            self._time("silence", self._limits.head_us)
        else:
            self._untime()

    def _unsupported_upgrade_warning(self) -> None:
        """A client asks for a protocol that we do not speak; it is answered in this one."""

    def shutdown(self) -> None:
        """Called when the server stops: a request that is not there whole is not in hand."""
        if self._awaits == "body" and self._may_be_answered():
            self._refuse(SHED.removeprefix(PROBLEM))
        else:
            super().shutdown()

    # ---- the parser's news

    def on_message_begin(self) -> None:
        self._awaits, self._timed, self._later_head_bytes = "head", "", 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._head_bytes() > self._limits.head_bytes:
            self._refusal = TOO_LONG_HEAD
            raise _Refused
        hosts = sum([name == b"host" for name, _ in self.headers])
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise _Refused
        self._awaits = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._awaits = ""
        super().on_message_complete()

    def _head_bytes(self) -> int:
        """Of the present request, as far as it has been parsed."""
        return len(self.url) + sum([len(name) + len(value) for name, value in self.headers])

    # ---- patience

    def _time(self, what: str, us: int) -> None:
        """Give it so long, unless it is timed already."""
        if self._timed == what:
            return
        self._untime()
        self._timed = what
        self._timer = self.loop.call_later(us / 1e6, self._too_late, what, us)

    def _untime(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = ""

    def _too_late(self, what: str, us: int) -> None:
        self._untime()
        if what == "body" and not self.cycle.response_complete and self._keeps_it_waiting():
            self._time(what, us)
        elif what == "silence":
            self._end()
        else:
            self._refuse(SLOW)

    def _keeps_it_waiting(self) -> bool:
        """Whether we have not let the client send: its request is behind another, or unread."""
        return bool(self.pipeline) or self.flow.read_paused or self.cycle.waiting_for_100_continue

    def _may_be_answered(self) -> bool:
        """Whether an answer would be of the request that is being read, and the first to it."""
        if self._awaits == "body":
            return not self.pipeline and not self.cycle.response_started
        return self._is_idle()

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # uvicorn has None there before the first request
        return cycle is None or cycle.response_complete is True

    # ---- refusals

    def send_400_response(self, msg: str) -> None:
        """Called for all that the parser refuses; `msg` is for a log."""
        del msg
        self._refuse(self._refusal)

    def _refuse(self, name: str) -> None:
        """Answer with a problem, and read no more."""
        if not self._may_be_answered():
            self._end_behind()
            return
        body = msgspec.json.encode(problem_of(name, PROBLEMS[name][1]))
        lines = [STATUS_LINE[PROBLEMS[name][0]]]
        for key, value in self.server_state.default_headers:
            lines += [key, b": ", value, b"\r\n"]
        lines += [
            b"content-type: application/problem+json\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body),
            body,
        ]
        self.transport.write(b"".join(lines))
        self._end()

    def _end_behind(self) -> None:
        """Read no more; end when the earlier requests are answered, or now if none is."""
        if self._awaits == "body" or self._is_idle():
            self._end()
        else:
            self._is_over = True
            self._untime()
            self.cycle.keep_alive = False

    def _end(self) -> None:
        """Say nothing more. The app is told that its client is gone, the client that we are."""
        self._is_over = True
        self._untime()
        self._unset_keepalive_if_required()
        if not self._is_idle():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            # Its client may have reset it, and the loop not have heard of that.
            with suppress(OSError):
                self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)
