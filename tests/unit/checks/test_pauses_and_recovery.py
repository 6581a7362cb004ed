"""Upper bounds leave out the time in which a process stood still; recovery counts from the calm."""

from collections.abc import Sequence

import pytest

from lab.checks.check import Verdict
from lab.checks.checker import Checker
from lab.checks.process_life import ProcessLife
from lab.history.entries import Entry, time_of
from lab.history.facts import RowEntry
from lab.history.requests import HttpBeginEntry
from tests.kit.entries import of_type
from tests.kit.histories import CONTRACT, S, judge, plain

CALLED_FOR_US = 9 * S


def life(event: str, t_us: int, process: str = "payment-1") -> Entry:
    return ("life", t_us, process, "", event)


def call(t_us: int, took_us: int) -> Entry:
    begun = ("payment-1", "1.1", "payment_gateway", "charge", "k", "captured")
    return ("call.end", t_us, *begun, 0, took_us, 0)


@pytest.mark.parametrize(
    ("pauses", "verdict"),
    [
        ((), Verdict.FAIL),
        (((2, 10),), Verdict.PASS),
        (((2, 8),), Verdict.FAIL),
        (((2, 6), (6, 10)), Verdict.PASS),
        # Before the call it was no reason to be late.
        (((0, 1),), Verdict.FAIL),
        (((2, None),), Verdict.PASS),
    ],
)
def test_a_call_is_not_late_for_the_time_in_which_its_process_stood_still(
    pauses: Sequence[tuple[int, int | None]], verdict: Verdict
) -> None:
    entries = [life("start", 0)]
    for begin, end in pauses:
        entries.append(life("pause", begin * S))
        entries += [] if end is None else [life("resume", end * S)]
    entries.append(call(11 * S, CALLED_FOR_US))

    assert judge(entries)["deadline"].verdict is verdict


def test_a_process_that_stood_still_has_longer_to_stop() -> None:
    def stopped(*pause: Entry) -> Verdict:
        entries = [life("start", 0), life("term", S), *pause, life("stopped", 31 * S)]
        return judge(entries)["graceful-shutdown"].verdict

    assert stopped() is Verdict.FAIL
    assert stopped(life("pause", 2 * S), life("resume", 30 * S)) is Verdict.PASS


def test_a_process_stands_still_for_every_pause_and_for_nothing_else() -> None:
    one = ProcessLife("payment-1")
    one.pauses = [(10, 20), (30, None)]

    assert one.stood_still_us(0, 5) == 0
    assert one.stood_still_us(0, 25) == 10
    assert one.stood_still_us(12, 15) == 3
    assert one.stood_still_us(15, 40) == 15


# ---- recovery


def recovery_us(*more: Entry) -> int:
    """Of some healthy orders from their begin to their end, and what happened beside them."""
    checker = Checker(CONTRACT)
    checker.take(sorted([*plain(), *more], key=time_of))
    checker.findings()
    return checker.acted.recovery_us


def times() -> tuple[int, int]:
    """When the first order was posted, and when its last row was written."""
    entries = plain()
    first, *_ = of_type(entries, HttpBeginEntry)
    rows = [row for row in of_type(entries, RowEntry) if row.subject == first.subject]
    return first.t_us, max(row.t_us for row in rows)


def fault(t_us: int) -> Entry:
    return ("fault", t_us, "run", "", "bus.down", "broker", 1, 0)


def fault_end(t_us: int) -> Entry:
    return ("fault_end", t_us, "run", "", "bus.down", "broker")


def test_an_order_that_was_under_way_recovers_when_it_comes_to_its_end() -> None:
    begun, ended = times()

    assert recovery_us(fault(begun + 1)) == ended - begun - 1
    assert recovery_us(fault(begun + 1), fault_end(begun + 501)) == ended - begun - 501
    assert recovery_us(life("pause", begun), life("resume", begun + 7)) == ended - begun - 7


def test_nothing_recovers_from_nothing_nor_from_what_came_before_or_after() -> None:
    begun, _ = times()

    assert recovery_us() == 0
    assert recovery_us(fault(begun - 1)) == 0
    assert recovery_us(fault(begun + 1), fault(S * 3_600)) == 0
