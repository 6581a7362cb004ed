"""The traces of a standing system, some of which its clients began.

What an order's trace is stands in its row and in its events. A process follows what it sees of
them, and what it has not seen yet it takes for a trace of the system's own, which can be computed.
Not here: the calls in which they are seen (`lab.wiring.process.trace_watch`).
"""

from collections import OrderedDict
from enum import IntEnum
from typing import NamedTuple

from lab.observe.traces import REMEMBERED_MAX, ComputedTraces, TraceparentOf, trace_of


class Sight(IntEnum):
    """Where an order was seen in a trace; what is surer is never overruled by what is less sure."""

    REQUEST = 0
    """A request about it came in that trace: mostly, but not always, its client's first one did."""

    EVENT = 1
    """An event of it; a foreign one may say anything."""

    ROW = 2
    """The order itself."""


class _Followed(NamedTuple):
    trace: str
    parent: str
    sight: Sight


class FollowedTraces(ComputedTraces):
    """The traces of orders, as far as this process has seen them.

    Args:
        traceparent_of: of the orders whose client began no trace.
    """

    def __init__(self, traceparent_of: TraceparentOf) -> None:
        super().__init__(traceparent_of, has_client=False, sees_requests=True)
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def of(self, subject: str) -> str:
        followed = self._followed.get(subject)
        return super().of(subject) if followed is None else followed.trace

    def parent_of(self, subject: str) -> str:
        followed = self._followed.get(subject)
        return "" if followed is None else followed.parent

    def follow(self, subject: str, context: str, sight: Sight, *, is_clients: bool = False) -> None:
        """An order was seen in this trace.

        Args:
            subject: the order, see `of`.
            context: the trace context of the order or of one of its events, of the strict reader.
            sight: see `Sight`.
            is_clients: it is the client's own: its span is the parent of the whole order.
        """
        trace, known = trace_of(context), self._followed.get(subject)
        if not (subject and trace) or (known is not None and sight < known.sight):
            return
        is_own = trace == super().of(subject)
        if known is None and is_own and sight is not Sight.ROW:
            return
        if known is not None and known.trace == trace:
            self._followed[subject] = known._replace(sight=sight)
            return
        parent = context.split("-")[2] if is_clients and not is_own else ""
        self._followed[subject] = _Followed(trace, parent, sight)
        if len(self._followed) > REMEMBERED_MAX:
            self._followed.popitem(last=False)
