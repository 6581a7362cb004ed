"""Logs of a real process: one JSON object a line on standard error, with the field names of ECS.

Libraries log through the same handler, so that nothing else ever stands in the stream. Where
Filebeat waits for them, the same lines go into a file too. Not here: what happened to orders, which
is the history's, and how often a line may come again (`repeats`).

Source: Elastic Common Schema; the formatter is Elastic's own.
"""

import logging
import platform
import sys
import threading
from pathlib import Path
from typing import Any, Final, TextIO

import ecs_logging

from lab.domain.errors import EnvironmentNotReady
from lab.observe.ecs_line import DATASET
from lab.observe.fields import ECS_VERSION, NAMESPACE, Document, merged
from lab.observe.numbered_file import NumberedFile
from lab.observe.repeats import Repeats, has_event_id
from lab.observe.traces import span_id

UNNAMED_ACTION: Final = "log"
"""The `event.action` of a line whose writer names none, such as a library."""

_UNEXPECTED: Final = {"event.action": "unexpected", "event.outcome": "failure"}

_QUIET: Final = ("aiokafka", "asyncio", "httpx", "httpcore", "uvicorn")
"""Libraries whose complaints matter and whose chatter does not."""


def log_to_stderr(
    *, service: str, process: str, run_id: str, folder: Path | None = None
) -> logging.Logger:
    """Send every log of this process to standard error as ECS; returns the lab's own logger.

    Args:
        service: for `service.name`, such as `lab-payment`.
        process: for `service.node.name`, such as `payment-1#2`.
        run_id: for `labels.run_id`: the run, or the name of the standing system.
        folder: where the lines go too, as `<process>.logs.<number>.ndjson`; None for nowhere.

    Raises:
        EnvironmentNotReady: nothing can be written to the folder.
    """
    file = None if folder is None else _file(folder, process)
    # One handler for both: a line is counted and numbered once.
    handler = logging.StreamHandler(_Streams(sys.stderr, file))
    handler.setFormatter(_Formatter(service=service, process=process, run_id=run_id))
    handler.addFilter(Repeats())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logging.getLogger("lab")


def hear_of_threads() -> None:
    """Have exceptions that nobody can catch stand in the log, in its form.

    Those of a thread, and those in a finalizer: Python writes both to standard error as they come.
    """
    threading.excepthook = _thread_failed
    sys.unraisablehook = _finalizer_failed


def _thread_failed(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is SystemExit or told.exc_value is None:
        return
    name = "" if told.thread is None else told.thread.name
    logging.getLogger("lab").error(
        "a thread has failed",
        exc_info=(told.exc_type, told.exc_value, told.exc_traceback),
        extra={**_UNEXPECTED, "process.thread.name": name},
    )


def _finalizer_failed(told: "sys.UnraisableHookArgs") -> None:
    error = told.exc_value
    logging.getLogger("lab").error(
        told.err_msg or "a finalizer has failed", exc_info=error, extra=_UNEXPECTED
    )


class _Formatter(ecs_logging.StdlibFormatter):
    """Elastic's formatter, and the fields that every line of the lab has.

    What a line says itself goes before them.
    """

    def __init__(self, *, service: str, process: str, run_id: str) -> None:
        super().__init__(exclude_fields=["log.original", "process.thread"])
        self._whose = run_id, process
        self._born: tuple[object, ...] = ()
        self._lines = 0
        self._common: Document = {
            "data_stream": {"type": "logs", "dataset": DATASET, "namespace": NAMESPACE},
            "ecs": {"version": ECS_VERSION},
            "event": {"action": UNNAMED_ACTION, "dataset": DATASET, "kind": "event"},
            "host": {"name": platform.node()},
            "labels": {"run_id": run_id},
            "service": {"name": service, "node": {"name": process}},
        }

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        """See the library."""
        document = super().format_to_ecs(record)
        # It says which version the library follows.
        document.pop("ecs.version", None)
        if not has_event_id(record):
            document = merged(document, {"event": {"id": self._id(record)}})
        return merged(document, self._common)

    def _id(self, record: logging.LogRecord) -> str:
        """Of process and number of the line.

        A standing system gives a process its old name again: the first line's time belongs to it.
        """
        if not self._born:
            self._born = record.process, record.created
        self._lines += 1
        return span_id(*self._whose, *self._born, self._lines)


class _Streams:
    """Standard error, and the file if there is one: each line goes to both."""

    def __init__(self, stderr: TextIO, file: NumberedFile | None) -> None:
        self._stderr = stderr
        self._file = file

    def write(self, text: str) -> None:
        """Write to the file first: nobody may read standard error any more."""
        if self._file is not None:
            self._file.write(text)
        self._stderr.write(text)

    def flush(self) -> None:
        """Hand on what standard error holds back."""
        self._stderr.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _file(folder: Path, process: str) -> NumberedFile:
    try:
        return NumberedFile(folder, f"{process}.logs")
    except OSError as bad:
        raise EnvironmentNotReady(
            f"nothing can be written there ({bad.strerror})",
            server="the folder of logs",
            address=str(folder),
            remedy="make it, or name another one with LAB_TELEMETRY",
        ) from None


def quiet_libraries() -> None:
    """Have libraries say nothing in a process whose standard error is for people.

    What they complain of is in the history, as errors of the calls that met it.
    """
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
