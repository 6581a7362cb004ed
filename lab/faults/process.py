"""Faults of processes: dying at a crash point, or being told to stop when a delivery begins.

One `ProcessFaults` belongs to one process life and goes around its ports, between the recording of
calls and the adapter, and around its outermost handler. A crash is a call of the supervisor's `kill`
and an await that never returns.

Not here: the names of the points (`points.py`), which calls they lie at (`boundaries.py`), what a
kill does and when the process comes back (the supervisor).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from enum import StrEnum
from inspect import iscoroutinefunction
from typing import Any, Final, NoReturn, TypeVar, cast

from lab.domain.envelope import H_SUBJECT
from lab.faults.boundaries import HOOKS, PORTS, Call, Hook, Moment, Role
from lab.faults.plan import FaultPlan, Firing, Site
from lab.faults.points import ANY, CRASH_POINTS, MID_DRAIN
from lab.ports.bus import Ack, Delivery, Handle, Settlement

P = TypeVar("P")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""

_CRASH: Final = "proc.crash"
