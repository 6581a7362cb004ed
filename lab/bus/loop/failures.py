"""What becomes of an exception that ends a task of a subscription: somebody is told.

Not here: exceptions out of the chain around a handler (`workers.py`).
"""

import asyncio
from typing import Final

SUBSCRIPTION: Final = "subscription"
"""Names the group in what the exception handler is told: nothing is consumed from then on."""


def report_failure(task: "asyncio.Task[None]", group: str) -> None:
    """Tell the event loop's exception handler if a task of a subscription failed: it is a bug."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"a task of the subscription of {group} failed",
                "exception": error,
                "task": task,
                SUBSCRIPTION: group,
            }
        )
