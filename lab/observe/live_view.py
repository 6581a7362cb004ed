"""What can be seen of a process while it works: documents in a file, lines on standard error.

The spans of one piece of work are written together, in one `write(2)`, when the outermost of them
has ended: a SIGKILL costs what was open and nothing else, and a trace never holds a span whose
parent died with its process. Not here: the fold (`process_view`), and the reader of the file
(Filebeat, `elk/`).
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lab.history.entries import Entry
from lab.observe.apm import span_documents
from lab.observe.ecs_line import line_document
from lab.observe.fields import Document, Origin
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


class LiveView:
    """A sink of the entries of one real process.

    Args:
        process: the process life.
        traces: see `Traces`.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        origin: of every document.
        write: takes the bytes of one or more whole lines; None: spans and lines go nowhere else
            but to the log.
        log: says the log lines.
    """

    def __init__(
        self,
        process: str,
        *,
        traces: Traces,
        epoch_us: int,
        origin: Origin,
        write: Callable[[bytes], object] | None,
        log: logging.Logger,
    ) -> None:
        self._origin = origin
        self._write = write
        self._log = log
        self._inside: dict[str, list[Span]] = {}
        self._view = ProcessView(process, traces=traces, epoch_us=epoch_us, emit=self._seen)

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
        document = line_document(line, self._origin)
        if self._write is not None:
            self._put([document])
        fields = {name: value for name, value in document.items() if name not in _OF_THE_HANDLER}
        self._log.log(_LEVELS[line.level], line.message, extra=fields)

    def _put(self, documents: list[Document]) -> None:
        assert self._write is not None
        self._write(_encode_lines(documents))


_OF_THE_HANDLER: Final = frozenset({"@timestamp", "log", "message", "ecs", "service"})
"""Fields that the handler of the log writes itself."""


class TelemetryFile:
    """A file of documents, appended to with one `write(2)` at a time.

    A disk that is full costs documents and not the process; that is said once.

    Args:
        path: a new file: a path is given to one process life only.
        log: says that documents are lost.
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._path = path
        self._log = log
        self._lost = False

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        try:
            written = os.write(self._file, lines)
        except OSError as bad:
            written = 0
            why = str(bad.strerror)
        else:
            why = "only a part of it was written"
        if written != len(lines) and not self._lost:
            self._lost = True
            self._log.error("spans and log lines are lost: cannot write %s: %s", self._path, why)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
