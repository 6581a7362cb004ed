"""An order's time begins when it is due: who stands still hides nothing, client or server."""

import pytest

from lab.bench.load import BenchError
from lab.bench.open_loop import OpenLoop
from lab.history.entries import Entry
from lab.history.facts import RowEntry
from lab.history.requests import HttpBeginEntry
from tests.kit.entries import of_type

MS = 1_000
EVERY_MS, WORK_MS = 10, 5
ORDERS = 200
DUE_US = [number * EVERY_MS * MS for number in range(ORDERS)]
STALL_MS = (500, 900)
BEGIN_MS = 7_000
"""Nothing in a history tells when the plan began."""


def sent(ordinal: int, at_ms: float, *, send: int = 1, op: str = "create") -> Entry:
    return HttpBeginEntry(
        "http.begin",
        int(at_ms * MS),
        "client",
        f"{ordinal}.1",
        op,
        "",
        "",
        send,
        *(0, "", "", "", ""),
    )


def row(ordinal: int, at_ms: float, state: str, version: int) -> Entry:
    return RowEntry(
        "row",
        int(at_ms * MS),
        "store",
        f"{ordinal}.1",
        version,
        state,
        *("", "", "GBP", 0, "", ""),
    )


def after_stall(at_ms: float) -> float:
    """When something that is to be done at `at_ms` is done by one who stands still meanwhile."""
    begin, end = STALL_MS
    return end if begin <= at_ms < end else at_ms


def history(*, stalled: str) -> list[Entry]:
    """Every order sent and done, while the client, the server or nobody stands still."""
    entries: list[Entry] = []
    for ordinal, due_us in enumerate(DUE_US, start=1):
        due_ms = due_us / MS
        sent_ms = after_stall(due_ms) if stalled == "client" else due_ms
        done_ms = (after_stall(sent_ms) if stalled == "server" else sent_ms) + WORK_MS
        entries += [
            sent(ordinal, BEGIN_MS + sent_ms),
            row(ordinal, BEGIN_MS + done_ms, "CONFIRMED", 2),
            # Entries of two processes stand in any order.
            row(ordinal, BEGIN_MS + done_ms - 1, "PENDING", 1),
        ]
    return entries


@pytest.mark.parametrize("stalled", ["client", "server"])
def test_a_stall_shows_in_p99_whoever_stood_still(stalled: str) -> None:
    times = OpenLoop(history(stalled=stalled), DUE_US)

    # Two in a hundred orders were due just after it began.
    assert times.percentile_ms(99) > 370
    assert times.percentile_ms(100) == STALL_MS[1] - STALL_MS[0] + WORK_MS
    assert times.percentile_ms(50) == WORK_MS
    assert times.late_us_max == (400 * MS if stalled == "client" else 0)


def test_counted_from_the_sending_a_client_that_stood_still_would_have_hidden_it() -> None:
    entries = history(stalled="client")
    sent = [entry.t_us for entry in of_type(entries, HttpBeginEntry)]
    ended = [row.t_us for row in of_type(entries, RowEntry) if row.state == "CONFIRMED"]

    assert {end - begin for begin, end in zip(sent, ended, strict=True)} == {WORK_MS * MS}


def test_without_a_stall_every_order_takes_as_long_as_its_work() -> None:
    times = OpenLoop(history(stalled=""), DUE_US)

    assert {times.percentile_ms(percent) for percent in (0, 50, 99, 100)} == {WORK_MS}
    assert times.spent_us == DUE_US[-1] + WORK_MS * MS
    assert times.late_us_max == 0


def test_a_request_that_is_sent_again_begins_no_order_anew() -> None:
    entries = [
        sent(1, 10),
        sent(1, 15, send=2),
        sent(1, 18, op="cancel"),
        row(1, 20, "CANCELLED", 3),
    ]

    assert OpenLoop(entries, [0]).lengths_us == [10 * MS]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [sent(1, 1)],
        [sent(1, 1), row(1, 2, "PENDING", 1)],
        [row(1, 2, "CONFIRMED", 1)],
        [sent(1, 1), row(1, 3, "PENDING", 2), row(1, 2, "CONFIRMED", 1)],
    ],
    ids=["nothing", "no row", "not ended", "never sent", "not the last row"],
)
def test_an_order_without_an_end_is_no_measurement(entries: list[Entry]) -> None:
    with pytest.raises(BenchError, match="1 of 1 orders"):
        OpenLoop(entries, [0])
