"""Where two runs part: by what was done, in each line of work, whatever the clocks say."""

from collections.abc import Sequence

from lab.faults.table.spec import ordinal_of
from lab.history.entries import Entry, kind_of, subject_of
from lab.story.parting import first_parting
from lab.story.told import Teller
from tests.kit.seen import entries_of


def of_order(entries: Sequence[Entry], ordinal: int) -> list[Entry]:
    return [entry for entry in entries if ordinal_of(subject_of(entry)) == ordinal]


def call(t_us: int, provider: str, process: str = "payment-1") -> Entry:
    return ("call.begin", t_us, process, "1.1", provider, "ask", "key", 0)


def test_two_equal_runs_part_nowhere() -> None:
    entries = of_order(entries_of("duplicates", 1), 1)

    assert first_parting(entries, entries) is None
    assert first_parting([], []) is None


def test_times_ids_and_the_number_of_a_process_are_no_difference() -> None:
    one = [call(1, "warehouse"), ("claim", 2, "payment-1", "1.1", "payment", "e1", "done", 3)]
    other = [call(9, "warehouse", "payment-2#3")]

    assert first_parting(one, other) is None


def test_what_goes_on_side_by_side_may_come_in_any_order() -> None:
    both = [call(1, "warehouse"), call(1, "antifraud")]

    assert first_parting(both, both[::-1]) is None


def test_one_that_goes_on_parts_from_one_that_ends() -> None:
    parting = first_parting([call(1, "warehouse")], [call(1, "warehouse"), call(5, "warehouse")])

    assert parting is not None
    assert (parting.one, parting.other, parting.before) == ((), (1,), 0)


def test_of_several_differences_the_earliest_is_shown() -> None:
    one = [call(1, "warehouse"), call(7, "mailer"), call(3, "antifraud")]

    parting = first_parting(one, [call(1, "warehouse")])

    assert parting is not None
    assert parting.one == (2,)


def test_a_duplicate_parts_where_one_run_suppresses_it_and_the_other_handles_it() -> None:
    without = of_order(entries_of("duplicates", 1, "dedupe", "inbox"), 1)
    healthy = of_order(entries_of("duplicates", 1), 1)

    parting = first_parting(without, healthy)

    assert parting is not None
    told = Teller(without).told(without[parting.one[0]])
    beside = Teller(healthy).told(healthy[parting.other[0]])
    assert told.endswith("starts its handler of OrderValidated, for the second time")
    assert beside.endswith("a duplicate: suppressed by dedupe")
    assert parting.before is not None
    assert kind_of(without[parting.before]) == "deliver"
