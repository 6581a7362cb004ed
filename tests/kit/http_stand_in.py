"""A server on loopback that answers what it is told to, and keeps what it was asked.

For what is asked over HTTP of servers that cannot be had here. Not here: those that can be had
(`real_servers`).
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

_POLL_S: Final = 0.01


class StandIn(ThreadingHTTPServer):
    """Answers by method and path as `answers` says: a status and a body; else 200 and {}.

    Attributes:
        answers: what it says; a body that is bytes is sent as it is.
        asked: method, path and body of each request.
        headers: those of the last request to each path, names in lower case.
    """

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, object]] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: dict[str, dict[str, str]] = {}
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self, path: str) -> Any:
        """The JSON that was put to a path, once."""
        (body,) = (body for method, asked, body in self.asked if (method, asked) == ("PUT", path))
        return json.loads(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        super().__exit__(kind, error, trace)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        assert isinstance(self.server, StandIn)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, body))
        self.server.headers[self.path] = {name.lower(): text for name, text in self.headers.items()}
        code, told = self.server.answers.get((self.command, self.path), (200, {}))
        text = told if isinstance(told, bytes) else json.dumps(told, separators=(",", ":")).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815 - the names that the library looks for
