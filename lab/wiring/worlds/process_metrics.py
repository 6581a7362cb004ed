"""What a real process is measured by: its history while it is written, its app, and its servers.

Not here: what is counted (`lab.observe.metrics`), and how it is scraped (`lab.observe.scrape`).
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import lab
from lab.observe import metric_table as table
from lab.observe.metrics import Labels, ProcessMetrics
from lab.observe.sampled import Sampled
from lab.observe.scrape import timed, with_metrics
from lab.providers import wire
from lab.runtime.asgi_call import AsgiApp
from lab.wiring.backends.real import RealBackends
from lab.wiring.policy import calls_are_guarded
from lab.wiring.process.life import Program
from lab.wiring.worlds.assignment import Assignment

_CAN_SHED: Final = ("/orders", "/orders/{id}/cancel")


class Meter:
    """The metrics of one process that answers over HTTP.

    Attributes:
        metrics: take its entries.
    """

    def __init__(self, assignment: Assignment) -> None:
        is_member = assignment.role == "consumer"
        self.metrics = ProcessMetrics(
            service=assignment.service,
            version=lab.__version__,
            group=assignment.group if is_member else "",
            tiers=len(assignment.policies().many_us("retry.tiers_ms")),
            guarded=tuple(wire.ACTIONS) if calls_are_guarded(assignment.off) else (),
        )
        if assignment.role == "api":
            self.metrics.begin_at_0(table.SHED, ((route,) for route in _CAN_SHED))
        self._sampled: list[Sampled[Any]] = []

    def watch(self, program: Program, backends: RealBackends | None, stack: AsyncExitStack) -> None:
        """Show what the program has in hand, and what waits for it on the servers.

        The API tells of the outbox too: so it is known as long as somebody fills it.

        Args:
            program: of the process. That it stands still is noticed by whoever runs it.
            backends: prepared; None if the servers are somebody else's to look at.
            stack: ends the questions.
        """
        self.metrics.begin_at_0(table.STALLED, [()])
        group = program.life.group
        if program.worker is not None:
            loop = program.worker.subscription.loop
            self.metrics.read(table.IN_FLIGHT, lambda: {(group,): loop.in_flight})
            if backends is not None:
                self._ask_lag(group, backends, stack)
        elif backends is not None:
            self._ask_outbox(backends, stack)

    def show_oldest(self, group: str, oldest_us: Callable[[], int]) -> None:
        """Show for how long the head of a partition has stood."""
        self.metrics.read(table.OLDEST, lambda: {(group,): oldest_us() / 1e6})

    def around(self, app: AsgiApp, *, is_timed: bool) -> AsgiApp:
        """The app of the process with `/metrics` beside it."""
        measured = timed(app, self.metrics) if is_timed else app
        return with_metrics(measured, self.metrics, self._sampled)

    def _ask_lag(self, group: str, backends: RealBackends, stack: AsyncExitStack) -> None:
        lag = Sampled(lambda: backends.bus.lag_of(group))
        self._keep(lag, stack)

        def by_topic() -> Mapping[Labels, float]:
            return {(group, topic): behind for topic, behind in (lag.value or {}).items()}

        self.metrics.read(table.LAG, by_topic)

    def _ask_outbox(self, backends: RealBackends, stack: AsyncExitStack) -> None:
        outbox = Sampled(backends.store.outbox_backlog)
        self._keep(outbox, stack)

        def events() -> Mapping[Labels, float]:
            return {} if outbox.value is None else {(): outbox.value[0]}

        def age_s() -> Mapping[Labels, float]:
            return {} if outbox.value is None else {(): outbox.value[1] / 1e6}

        self.metrics.read(table.OUTBOX_EVENTS, events)
        self.metrics.read(table.OUTBOX_AGE, age_s)

    def _keep(self, sampled: Sampled[Any], stack: AsyncExitStack) -> None:
        self._sampled.append(sampled)
        stack.push_async_callback(sampled.close)
