"""The readers of a real process's entries while it works: its journal, its metrics, its spans.

Not here: the process (`real_process`), and how an entry gets to them (`lab.observe.live`).
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import lab
from lab.history.journal import Journal
from lab.history.recorder import Write
from lab.observe.fields import Origin
from lab.observe.followed_traces import FollowedTraces
from lab.observe.live import Live
from lab.observe.live_view import LiveView
from lab.observe.numbered_file import NumberedFile
from lab.observe.traces import ComputedTraces, Traces
from lab.ports.ids import Ids
from lab.runtime.clock import SystemClock
from lab.runtime.ids import SeededIds, TimeOrderedIds
from lab.wiring.process.trace_watch import TraceWatch
from lab.wiring.worlds.assignment import Assignment
from lab.wiring.worlds.process_metrics import Meter


def make_live(
    assignment: Assignment,
    on_failure: Callable[[BaseException], object],
    stack: AsyncExitStack,
    meter: Meter | None,
    log: logging.Logger,
    traces: Traces,
) -> Live:
    """The readers of the entries of this process while it works.

    Args:
        assignment: of the process.
        on_failure: is called when the journal cannot be written.
        stack: closes them.
        meter: counts them; None: nobody asks for counts.
        log: takes the lines.
        traces: of the orders.
    """
    journal: Write | None = None
    if assignment.journal:
        file = Journal(Path(assignment.journal), on_failure=on_failure)
        stack.callback(file.close)
        journal = file.write
    view = _make_view(assignment, stack, log, traces)
    return Live(journal, [*([] if meter is None else [meter.metrics]), view])


def _make_view(
    assignment: Assignment, stack: AsyncExitStack, log: logging.Logger, traces: Traces
) -> LiveView:
    """Its spans and log lines; spans are kept where a folder for them was named."""
    clock, spans = SystemClock(), None
    if assignment.telemetry:
        spans = NumberedFile(Path(assignment.telemetry), f"{assignment.process}.spans")
        stack.callback(spans.close)
    view = LiveView(
        assignment.process,
        service=assignment.group,
        traces=traces,
        epoch_us=clock.wall_us() - clock.now_us(),
        origin=Origin(run_id=assignment.name, environment="real", version=lab.__version__),
        write=None if spans is None else spans.write,
        log=log,
    )
    stack.callback(lambda: view.close(clock.now_us()))
    return view


def make_traces(assignment: Assignment) -> ComputedTraces:
    """The traces of a lab run, or those of a standing system, some of which its clients began."""
    traceparent_of = make_ids(assignment).traceparent
    if assignment.seed is None:
        return FollowedTraces(traceparent_of)
    return ComputedTraces(traceparent_of, has_client=True, sees_requests=True)


def watch_of(traces: Traces) -> TraceWatch | None:
    """What tells the traces of a process what it sees; None where they can all be computed."""
    return TraceWatch(traces) if isinstance(traces, FollowedTraces) else None


def make_ids(assignment: Assignment) -> Ids:
    """The ids of a lab run, or those of a standing system."""
    return TimeOrderedIds() if assignment.seed is None else SeededIds(assignment.seed)
