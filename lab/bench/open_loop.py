"""How long the orders of a run take, each from the moment at which it was due.

A client that is held up sends late, and counted from its sending an order would not have waited at
all: just the time in which everything stood still would be left out (coordinated omission). So
an order's time begins when the plan says, whether or not anybody was able to send it then.

Not here: the client, which keeps to its plan as well as it can (`lab.runner`).

Source: Gil Tene, "How NOT to Measure Latency"; the same correction is in wrk2.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import closing

from lab.bench.load import BenchError
from lab.checks.tables import TERMINAL
from lab.history.entries import Entry, kind_of
from lab.history.facts import RowEntry
from lab.history.requests import HttpBeginEntry
from lab.wiring.spec import RunSpec
from lab.wiring.workload import make_workload


def planned_us(spec: RunSpec) -> list[int]:
    """When each order of a run is due, in microseconds after the first one."""
    with closing(make_workload(spec)) as workload:
        return [order.at_us for order in workload]


class OpenLoop:
    """The times of one run, out of its history.

    The first instant of the plan stands in no history: it is that of the order that was sent with
    the least delay.

    Args:
        entries: of the run, all of them.
        due_us: when each order was due, see `planned_us`.

    Attributes:
        lengths_us: from due to the last state, the shortest first.
        late_us_max: the longest that the client was late with an order.
        spent_us: from the first order that was due to the end of the last one.

    Raises:
        BenchError: an order was never sent, or has not come to its end.
    """

    def __init__(self, entries: Iterable[Entry], due_us: Sequence[int]) -> None:
        sent_us: dict[int, int] = {}
        ended: dict[int, RowEntry] = {}
        for entry in entries:
            kind = kind_of(entry)
            if kind == "http.begin":
                begun = HttpBeginEntry._make(entry)
                if begun.op == "create":
                    sent_us.setdefault(_ordinal(begun.subject), begun.t_us)
            elif kind == "row":
                row = RowEntry._make(entry)
                last = ended.get(_ordinal(row.subject))
                if last is None or last.version < row.version:
                    ended[_ordinal(row.subject)] = row
        due = dict(enumerate(due_us, start=1))
        is_over = {one for one, row in ended.items() if row.state in TERMINAL}
        open_ones = due.keys() - (is_over & sent_us.keys())
        if not due or open_ones:
            raise BenchError(
                f"{len(open_ones):,} of {len(due):,} orders have not come to their end, so the "
                "time of the others says nothing"
            )
        start_us = min(sent_us[one] - at_us for one, at_us in due.items())
        self.lengths_us = sorted(ended[one].t_us - start_us - at_us for one, at_us in due.items())
        self.late_us_max = max(sent_us[one] - start_us - at_us for one, at_us in due.items())
        self.spent_us = max(ended[one].t_us for one in due) - start_us

    def percentile_ms(self, percent: float) -> float:
        """The time that `percent` of the orders do not exceed."""
        place = math.ceil(percent / 100 * len(self.lengths_us))
        return self.lengths_us[max(place, 1) - 1] / 1_000


def _ordinal(subject: str) -> int:
    """The number of an order; its requests have it in common."""
    return int(subject.partition(".")[0] or 0)
