"""The traces of a standing system, some of which its clients began.

What an order's trace is stands in its row and in its events. A process follows what it sees of
them, and what it has not seen yet it takes for a trace of the system's own, which can be computed.
Not here: the calls in which they are seen (`lab.wiring.process.trace_watch`).
"""

from collections import OrderedDict
from typing import NamedTuple

from lab.observe.traces import REMEMBERED_MAX, ComputedTraces, TraceparentOf, trace_of


class _Followed(NamedTuple):
    trace: str
    parent: str


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

    def follow(self, subject: str, context: str, *, is_clients: bool = False) -> None:
        """An order was seen in this trace.

        Args:
            subject: the order, see `of`.
            context: the trace context of the order or of one of its events.
            is_clients: it is the client's own: its span is the parent of the whole order.
        """
        trace = trace_of(context)
        if not (subject and trace) or trace == self.of(subject):
            return
        parent = context.split("-")[2] if is_clients else ""
        self._followed[subject] = _Followed(trace, parent)
        if len(self._followed) > REMEMBERED_MAX:
            self._followed.popitem(last=False)
