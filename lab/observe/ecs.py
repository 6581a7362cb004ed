"""Logs of a real process: one JSON object a line on standard error, with the field names of ECS.

Libraries log through the same handler, so that nothing else ever stands in the stream. Not here:
what happened to orders, which is the history's.

Source: Elastic Common Schema; the formatter is Elastic's own.
"""

import logging
import sys
from typing import Final

import ecs_logging

_QUIET: Final = ("aiokafka", "asyncio", "httpx", "httpcore", "uvicorn")
"""Libraries whose complaints matter and whose chatter does not."""


def log_to_stderr(*, service: str, process: str) -> logging.Logger:
    """Send every log of this process to standard error as ECS; returns the lab's own logger.

    Args:
        service: for `service.name`, such as `lab-payment`.
        process: for `service.node.name`, such as `payment-1#2`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ecs_logging.StdlibFormatter(
            extra={"service.name": service, "service.node.name": process},
            exclude_fields=["log.original", "process.thread"],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logging.getLogger("lab")


def quiet_libraries() -> None:
    """Have libraries say nothing in a process whose standard error is for people.

    What they complain of is in the history, as errors of the calls that met it.
    """
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
