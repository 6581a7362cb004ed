"""Log lines out of what the witnesses of a run tell: the states of orders, and the lag of groups.

Only a history of a whole run has them: a process sees its own work and not the rows and records of
the others. Not here: lines about processes (`lines`).
"""

from typing import Any, Final

from lab.history.entries import Entry
from lab.observe.model import LogLine
from lab.observe.open_spans import Emit
from lab.observe.traces import Traces, span_id

STORE: Final = "store"
BUS: Final = "bus"
LAG_EVERY_US: Final = 1_000_000


class OrderStates:
    """A line for each state of an order, with the time since the order was created.

    Args:
        traces: see `Traces`.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        emit: see `Emit`.
    """

    def __init__(self, *, traces: Traces, epoch_us: int, emit: Emit) -> None:
        self._traces = traces
        self._epoch_us = epoch_us
        self._emit = emit
        self._created_us: dict[str, int] = {}

    def take(self, entry: Entry) -> None:
        """The next entry of the order store."""
        if entry[0] == "row":
            self._row(entry)

    def _row(self, entry: Any) -> None:
        _, t_us, process, subject, version, state, event_id, event_type, *_ = entry
        created_us = self._created_us.setdefault(subject, t_us)
        self._emit(
            LogLine(
                at_us=self._epoch_us + t_us,
                id=span_id("row", subject, version, state, event_id, t_us),
                level="debug",
                message=f"the order is {state}",
                action="order-state",
                service=STORE,
                node=process,
                subject=subject,
                trace_id=self._traces.of(subject),
                duration_us=t_us - created_us,
                attributes={"lab.state": state}
                | (
                    {"messaging.message.id": event_id, "lab.event_type": event_type}
                    if event_id
                    else {}
                ),
            )
        )


class Lag:
    """A line when a group is more or fewer records behind than a second before.

    A group is behind by what its topics hold and it has not committed; a topic is a group's from
    the group's first commit in it. Needs every record: of a history that holds some orders only,
    the lag would be that of these.

    Args:
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        emit: see `Emit`.
    """

    def __init__(self, *, epoch_us: int, emit: Emit) -> None:
        self._epoch_us = epoch_us
        self._emit = emit
        self._ends: dict[str, dict[int, int]] = {}
        """The next offset of each partition, by topic."""
        self._positions: dict[str, dict[str, dict[int, int]]] = {}
        """The next offset that a group wants of each partition, by group and topic."""
        self._told: dict[str, int] = {}
        self._next_us = LAG_EVERY_US

    def take(self, entry: Entry) -> None:
        """The next entry, whosever it is."""
        kind, t_us, *_ = entry
        assert isinstance(t_us, int)
        if t_us >= self._next_us:
            self._tell(t_us - t_us % LAG_EVERY_US)
        if kind == "appended":
            self._appended(entry)
        elif kind == "committed":
            self._committed(entry)

    def close(self, t_us: int) -> None:
        """The history is over: what was left."""
        self._tell(t_us)

    def _appended(self, entry: Any) -> None:
        _, _, _, _, topic, partition, offset, *_ = entry
        ends = self._ends.setdefault(topic, {})
        ends[partition] = max(ends.get(partition, 0), offset + 1)

    def _committed(self, entry: Any) -> None:
        _, _, _, _, group, topic, partition, offset, _, accepted = entry
        if accepted:
            self._positions.setdefault(group, {}).setdefault(topic, {})[partition] = offset

    def _tell(self, t_us: int) -> None:
        self._next_us = t_us + LAG_EVERY_US
        for group, topics in self._positions.items():
            lag = sum(
                end - positions.get(partition, 0)
                for topic, positions in topics.items()
                for partition, end in self._ends.get(topic, {}).items()
            )
            if lag != self._told.get(group, 0):
                self._told[group] = lag
                self._say(t_us, group, lag)

    def _say(self, t_us: int, group: str, lag: int) -> None:
        self._emit(
            LogLine(
                at_us=self._epoch_us + t_us,
                id=span_id("lag", group, t_us, lag),
                level="debug",
                message=f"group {group} is {lag} records behind",
                action="lag",
                service=BUS,
                node=BUS,
                attributes={"messaging.consumer.group.name": group, "lab.lag": lag},
            )
        )
