"""Runs the lab as its command does, and presses Ctrl-C when the third order is about to be posted.

python tests/cli/interrupt_at_order.py run happy-path --json
"""

import signal
import sys

from lab.cli.app import run_command
from lab.scenarios.client import Client
from lab.scenarios.workload import PlannedOrder

ORDER = 3
_place = Client.place


async def _interrupted(self: Client, order: PlannedOrder) -> None:
    if order.ordinal == ORDER:
        signal.raise_signal(signal.SIGINT)
    await _place(self, order)


if __name__ == "__main__":
    # A shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Client.place = _interrupted  # type: ignore[method-assign]  # the moment of the interruption
    sys.exit(run_command(sys.argv[1:]))
