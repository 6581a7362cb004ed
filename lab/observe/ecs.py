"""Logs of a real process: one JSON object a line on standard error, with the field names of ECS.

Libraries log through the same handler, so that nothing else ever stands in the stream. Where
Filebeat waits for them, the same lines go into a file too. Not here: what happened to orders, which
is the history's.

Source: Elastic Common Schema; the formatter is Elastic's own.
"""

import logging
import platform
import sys
from pathlib import Path
from typing import Final

import ecs_logging

from lab.domain.errors import EnvironmentNotReady
from lab.observe.numbered_file import NumberedFile

DATASET: Final = "orders.lab"
"""Where elk/filebeat.yml sends them."""

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
    formatter = ecs_logging.StdlibFormatter(
        extra={
            "data_stream.dataset": DATASET,
            "data_stream.namespace": "default",
            "data_stream.type": "logs",
            "event.dataset": DATASET,
            "host.name": platform.node(),
            "labels.run_id": run_id,
            "service.name": service,
            "service.node.name": process,
        },
        exclude_fields=["log.original", "process.thread"],
    )
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        handlers.append(logging.StreamHandler(_file(folder, process)))
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logging.getLogger("lab")


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
