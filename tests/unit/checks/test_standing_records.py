"""Records and the deliveries that show them, in whatever order they are heard of."""

import pytest

from lab.checks.standing_records import StandingRecords
from lab.history.entries import Entry

ALARMS = "orders.payment.retry.1"


def appended(offset: int, digest: str) -> tuple[int, str, Entry]:
    fields = (ALARMS, 0, offset, f"e{offset}", "OrderCreated", digest, 0, "", "")
    return offset, digest, ("appended", 0, "bus", "1.1", *fields)


def delivered(offset: int, digest: str) -> tuple[int, Entry]:
    fields = ("payment", ALARMS, 0, offset, 1, f"e{offset}", "OrderCreated", 1, digest)
    return offset, ("deliver", 0, "payment-1", "1.1", *fields)


@pytest.mark.parametrize(("shown", "differs"), [("same", 0), ("other", 1)])
def test_a_delivery_that_is_heard_of_first_waits_for_its_record(shown: str, differs: int) -> None:
    records = StandingRecords(ALARMS, 0)
    records.wait(*delivered(0, shown))
    assert len(records.unknown()) == 1
    records.append(*appended(0, "same"))

    assert records.unknown() == ()
    assert len(records.differing) == differs


def test_a_record_is_remembered_until_its_group_has_passed_it() -> None:
    records = StandingRecords(ALARMS, 0)
    for offset in range(10):
        records.append(*appended(offset, "d"))
    records.pass_by("payment", 7)

    assert (records.low, records.end, sorted(records.digests)) == (7, 10, [7, 8, 9])


def test_a_record_that_is_heard_of_after_its_group_has_passed_it_is_still_compared() -> None:
    records = StandingRecords(ALARMS, 0)
    records.wait(*delivered(0, "other"))
    records.pass_by("payment", 1)
    records.append(*appended(0, "same"))

    assert len(records.differing) == 1
    assert records.digests == {}


def test_nobody_reads_a_dead_letter_queue_so_nothing_of_it_is_remembered() -> None:
    records = StandingRecords("orders.payment.dlq", 0)
    records.append(*appended(0, "d"))

    assert (records.end, records.digests) == (1, {})
