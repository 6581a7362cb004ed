"""What can be seen of a process while it works: spans in a file, lines in its log.

The spans of one piece of work are written together, in one `write(2)`, when the outermost of them
has ended: a SIGKILL costs what was open and nothing else, and a trace never holds a span whose
parent died with its process. Not here: the fold (`process_view`), and the reader of the file
(Filebeat, `elk/`).
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from lab.history.entries import Entry
from lab.observe.apm import span_documents
from lab.observe.ecs_line import line_document
from lab.observe.fields import Document, Origin, of_this_run
from lab.observe.model import Level, LogLine, Span
from lab.observe.process_view import ProcessView
from lab.observe.traces import Traces

_LEVELS: Final[dict[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_encode_lines: Final = msgspec.json.Encoder().encode_lines

_OF_THE_HANDLER: Final = frozenset(
    {"@timestamp", "data_stream", "ecs", "host", "log", "message", "service"}
)
"""Fields that the handler of the log writes itself: a field given twice loses the line."""


class LiveView:
    """A sink of the entries of one real process.

    Orders that go well leave no line in the log; their spans go to `write` alone.

    Args:
        process: the process life.
        service: its role.
        traces: see `Traces`.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        origin: of every document.
        write: takes the spans, one or more whole lines at a time; None: nobody wants them.
        log: says the log lines.
    """

    def __init__(
        self,
        process: str,
        *,
        service: str,
        traces: Traces,
        epoch_us: int,
        origin: Origin,
        write: Callable[[str], object] | None,
        log: logging.Logger,
    ) -> None:
        self._origin = origin
        self._write = write
        self._log = log
        self._inside: dict[str, list[Span]] = {}
        self._view = ProcessView(
            process, service=service, traces=traces, epoch_us=epoch_us, emit=self._seen
        )

    def take(self, entry: Entry) -> None:
        """The next entry."""
        self._view.take(entry)

    def close(self, t_us: int) -> None:
        """The process ends: what is open ends with it."""
        self._view.close(t_us)

    def _seen(self, seen: Span | LogLine) -> None:
        if isinstance(seen, LogLine):
            self._say(seen)
        elif self._write is None:
            return
        elif seen.is_entry:
            whole = [seen, *self._inside.pop(seen.span_id, ())]
            self._put([one for span in whole for one in span_documents(span, self._origin)])
        else:
            self._inside.setdefault(seen.entry_id, []).append(seen)

    def _say(self, line: LogLine) -> None:
        document = of_this_run(line_document(line, self._origin), self._origin)
        fields = {name: value for name, value in document.items() if name not in _OF_THE_HANDLER}
        self._log.log(_LEVELS[line.level], line.message, extra=fields)

    def _put(self, documents: list[Document]) -> None:
        assert self._write is not None
        own = [of_this_run(document, self._origin) for document in documents]
        self._write(_encode_lines(own).decode())
