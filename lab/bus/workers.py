"""The workers of a subscription: they take lanes, hand deliveries to the chain, settle them.

The pool is fixed: no task per delivery, and a parked delivery holds no worker. Deliberately not
here: what comes in (`intake.py`), when a subscription ends (`delivery.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from lab.bus.committing import Committer
from lab.bus.draining import Drain, Waiting, abandon
from lab.bus.intake import Intake
from lab.bus.lanes import PARKED, RUNNING, Held, Lane, Lanes
from lab.history.recorder import Write
from lab.ports.bus import (
    Ack,
    DeadLetter,
    Delivery,
    Handle,
    Release,
    Retry,
    Settlement,
)
"""x"""
