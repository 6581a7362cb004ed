"""The cost of an order in counts: steps of the virtual loop, timers, and calls of functions.

A profiling hook counts them on a run of its own, so that the loop itself counts nothing. The
numbers differ between Python versions.
"""

import sys
from collections.abc import Callable, Sequence
from contextvars import Context
from types import FrameType
from typing import Final

from lab.bench import load
from lab.runtime.scheduler import AnyScheduler
from lab.runtime.scheduling import Timeline
from lab.runtime.virtual_task import VirtualTask

_TIMER: Final = Timeline.push.__code__
_STEP: Final = VirtualTask.step.__code__
_LOOP: Final = AnyScheduler._run_instant.__code__  # noqa: SLF001 - the loop is measured here


def count_steps(orders: int) -> tuple[float, float]:
    """Loop steps and timers of one order of the core; a run of one order is taken off."""
    (steps, timers), (base_steps, base_timers) = (_count(count) for count in (orders, 1))
    return (steps - base_steps) / (orders - 1), (timers - base_timers) / (orders - 1)


def count_calls(orders: int, off: Sequence[str] = ()) -> float:
    """Calls of functions, of Python and of C, of one order; a run of one order is taken off.

    Args:
        orders: at least 2.
        off: patterns that are switched off.
    """
    load.run_without(off, orders)  # what is made at first use is not counted
    calls, base_calls = (_calls(count, off) for count in (orders, 1))
    return (calls - base_calls) / (orders - 1)


def _calls(orders: int, off: Sequence[str]) -> int:
    calls = 0

    def on_event(_frame: FrameType, event: str, _called: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    _profiled(on_event, lambda: load.run_without(off, orders))
    return calls


def _count(orders: int) -> tuple[int, int]:
    steps = timers = 0

    def on_event(frame: FrameType, event: str, called: object) -> None:
        nonlocal steps, timers
        if event == "call":
            if frame.f_code is _TIMER:
                timers += 1
            steps += frame.f_code is _STEP
        elif event == "c_call" and frame.f_code is _LOOP:
            steps += type(getattr(called, "__self__", None)) is Context

    _profiled(on_event, lambda: load.run_core(orders))
    return steps, timers


def _profiled(on_event: Callable[[FrameType, str, object], None], run: Callable[[], None]) -> None:
    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        run()
    finally:
        sys.setprofile(before)
