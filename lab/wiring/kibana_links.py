"""Addresses in Kibana where one run can be looked at: the trace of one order, and the dashboard.

Not here: what is shown there (`elk/`).

Source: Kibana, the route `link-to/trace` of Applications; Rison, the language of `_g` and `_a`.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from lab.history.history_reader import HistoryError, read_history
from lab.observe.traces import trace_of
from lab.report.result import Result
from lab.runtime.ids import SeededIds

DASHBOARD: Final = "orders-lab"
AROUND: Final = timedelta(minutes=1)
"""Shown before and after the run."""


class KibanaLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run can be looked at.

    Attributes:
        trace: of the order that broke a promise, else of the first that a fault hit; null if none.
        order: its ordinal.
        dashboard: shows this run only.
    """

    trace: str | None
    order: int | None
    dashboard: str


def kibana_links(result: Result, folder: Path, kibana: str) -> KibanaLinks:
    """The addresses of a kept run.

    Args:
        result: of it.
        folder: of it.
        kibana: the address of Kibana, as of LAB_KIBANA_URL.
    """
    base = kibana.strip().rstrip("/")
    start = datetime.fromisoformat(result.time.epoch).astimezone(UTC)
    begin = _iso(start - AROUND)
    end = _iso(start + timedelta(milliseconds=result.time.virtual_ms) + AROUND)
    run_id = f"{result.scenario}/{folder.resolve().name}"
    query = _rison(f'labels.run_id:"{run_id}"')
    place = f"_g=(time:(from:'{begin}',to:'{end}'))&_a=(query:(language:lucene,query:{query}))"
    order = order_to_show(result)
    return KibanaLinks(
        trace=None if order is None else _trace(base, result, folder, order, (begin, end)),
        order=order,
        dashboard=f"{base}/app/dashboards#/view/{DASHBOARD}?{place}",
    )


def order_to_show(result: Result) -> int | None:
    """The order whose way tells most: the witness of a FAIL, else the first that a fault hit."""
    witnesses = [
        check.witness_order
        for check in result.checks
        if check.verdict == "FAIL" and check.witness_order is not None
    ]
    hit = [fault.orders[0] for fault in result.faults if fault.orders]
    return next(iter((*witnesses, *hit)), None)


def _trace(base: str, result: Result, folder: Path, order: int, span: tuple[str, str]) -> str:
    subject = _subject_of(folder, order)
    trace_id = trace_of(SeededIds(result.seed).traceparent(subject))
    times = urlencode({"rangeFrom": span[0], "rangeTo": span[1]})
    return f"{base}/app/apm/link-to/trace/{trace_id}?{times}"


def _subject_of(folder: Path, order: int) -> str:
    """The send of an order that was stored: of it the history tells most."""
    many: Counter[str] = Counter()
    try:
        for entry in read_history(folder / "history.ndjson"):
            subject = str(entry[3])
            if subject.partition(".")[0] == str(order):
                many[subject] += 1
    except HistoryError:
        many.clear()
    return many.most_common(1)[0][0] if many else f"{order}.1"


def _rison(text: str) -> str:
    """A text in Rison, as it can stand in an address."""
    escaped = text.replace("!", "!!").replace("'", "!'")
    return f"'{quote(escaped, safe='')}'"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
