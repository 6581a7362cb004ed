"""The spans and log lines of a whole run: each entry goes to the view of its process.

Not here: the fold of one process (`process_view`), what witnesses tell (`witnesses`), and reading a
history (`lab.history`).
"""

from typing import Final

from lab.history.entries import Entry
from lab.observe.open_spans import Emit
from lab.observe.process_view import ProcessView, Sent
from lab.observe.traces import Traces
from lab.observe.witnesses import BUS, STORE, Lag, OrderStates

WITNESSES: Final = frozenset({STORE, BUS, "ledger"})
"""They tell facts; what led to a fact is told by the process that did it."""


class RunView:
    """The views of every process life of a run.

    Args:
        traces: see `Traces`.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        emit: see `Emit`.
        is_whole: every entry of the run comes by, so that its consumers' lag can be told.
    """

    def __init__(self, *, traces: Traces, epoch_us: int, emit: Emit, is_whole: bool = True) -> None:
        self._traces = traces
        self._epoch_us = epoch_us
        self._emit = emit
        self._views: dict[str, ProcessView] = {}
        self._sent = Sent()
        self._states = OrderStates(traces=traces, epoch_us=epoch_us, emit=emit)
        self._lag = Lag(epoch_us=epoch_us, emit=emit) if is_whole else None
        self._now_us = 0

    def take(self, entry: Entry) -> None:
        """The next entry of the history."""
        kind, t_us, process, subject = entry[:4]
        assert isinstance(t_us, int)
        assert isinstance(process, str)
        assert isinstance(subject, str)
        self._now_us = max(self._now_us, t_us)
        if self._lag is not None:
            self._lag.take(entry)
        if process in WITNESSES:
            if process == STORE:
                self._states.take(entry)
            return
        view = self._views.get(process)
        if view is None:
            view = self._views[process] = ProcessView(
                process,
                traces=self._traces,
                epoch_us=self._epoch_us,
                emit=self._emit,
                sent=self._sent,
            )
        view.take(entry)
        if kind == "fault" and subject:
            self._strike(t_us, subject, str(entry[4]), str(entry[5]))

    def close(self) -> None:
        """The history is over."""
        for view in self._views.values():
            view.close(self._now_us)
        if self._lag is not None:
            self._lag.close(self._now_us)

    def _strike(self, t_us: int, subject: str, kind: str, site: str) -> None:
        """Note a fault at the open work that it struck, in whichever process that is."""
        views = list(reversed(self._views.values()))
        # The site is a third party that somebody calls just now, or a process.
        first = [view for view in views if view.calls(subject, site) or view.service == site]
        for view in (*first, *views):
            if view.service != "client" and view.strike(t_us, subject, kind, site):
                return
        client = self._views.get("client")
        if client is not None:
            client.strike(t_us, subject, kind, site)
