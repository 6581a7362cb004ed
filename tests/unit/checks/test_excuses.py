"""Which causes excuse that an event was given up, and what is left open."""

from collections.abc import Callable

import pytest

from lab.checks.causes import Causes
from lab.checks.check import Finding, Verdict
from lab.checks.excuses import CALLS, EXCUSES
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import GROUPS
from lab.history.entries import Entry, kind_of
from lab.history.facts import FaultEndEntry, FaultEntry
from tests.kit.histories import MS, S, Story, buried, changed, event_id, judge, where

SUBJECT = "37.1"


def finding(entries: list[Entry]) -> Finding:
    return judge(entries)["excuse-earned"]


def fault(kind: str, site: str, t_us: int = 0, *, subject: str = "", lasts_us: int = 0) -> Entry:
    return FaultEntry("fault", t_us, "run", subject, kind, site, 1, lasts_us)


def exhausted(*causes: Entry, result: str = "Transient", answers: int = 0) -> list[Entry]:
    """Six runs of a handler fail, and the event is given up."""
    story, kind = Story(), "OrderCreated"
    process, event = "validation-1", event_id(SUBJECT, "OrderCreated")
    story.entries.extend(causes)
    story.ask(SUBJECT)
    story.receive(SUBJECT)
    story.deliver(process, SUBJECT, kind)
    for attempt in range(1, 7):
        story.handle(process, SUBJECT, kind, attempt=attempt, result=result)
        if attempt <= answers:
            told = ("warehouse", "in_stock", "C-1", "", 0, "503")
            story.write("answered", "ledger", SUBJECT, *told)
        story.wait(30 * S)
    story.write("outcome", "store", SUBJECT, "validation", event, "dead", 0)
    story.append(SUBJECT, kind, "orders.validation.dlq", 1)
    story.write("buried", process, SUBJECT, "validation", event, "exhausted", 6, 0, 0)
    return story.end()


def test_every_kind_of_fault_has_its_reach() -> None:
    assert set(EXCUSES) == set(KINDS)
    assert set(CALLS) == set(GROUPS)


def test_a_failed_answer_for_each_run_is_an_excuse_and_one_less_is_none() -> None:
    assert finding(exhausted(answers=6)).verdict is Verdict.PASS
    found = finding(exhausted(answers=5))
    assert found.witness == (
        "order 37: validation gave up OrderCreated after 6 failed runs, and 5 of them have a cause "
        "outside"
    )


@pytest.mark.parametrize("subject", [SUBJECT, "36.1"])
def test_a_statement_that_failed_counts_for_its_own_order(subject: str) -> None:
    strikes = [fault("pg.deadlock", "validation", n, subject=subject) for n in range(6)]
    expected = Verdict.PASS if subject == SUBJECT else Verdict.FAIL
    assert finding(exhausted(*strikes)).verdict is expected


@pytest.mark.parametrize(("group", "is_lawful"), [("validation", True), ("payment", False)])
def test_a_statement_of_nobody_knows_whose_order_counts_in_its_group(
    group: str,
    is_lawful: bool,  # noqa: FBT001 - a case of a table
) -> None:
    strikes = [fault("pg.deadlock", group, n * 30 * S) for n in range(7)]
    assert (finding(exhausted(*strikes)).verdict is Verdict.PASS) is is_lawful


@pytest.mark.parametrize(("until_s", "is_lawful"), [(200, True), (100, False)])
def test_an_outage_excuses_what_ran_while_it_lasted(
    until_s: int,
    is_lawful: bool,  # noqa: FBT001 - a case of a table
) -> None:
    down = fault("pg.shutdown", "postgres")
    up = FaultEndEntry("fault_end", until_s * S, "run", "", "pg.shutdown", "postgres")
    assert (finding(exhausted(down, up)).verdict is Verdict.PASS) is is_lawful


def test_an_exception_of_our_own_has_no_excuse_however_often_others_failed() -> None:
    found = finding(exhausted(answers=6, result="Unclassified"))
    assert "whose handler raised what no fault can raise" in found.witness


def test_a_kind_of_fault_that_nobody_knows_excuses_everything_and_leaves_a_doubt() -> None:
    found = finding(exhausted(fault("svc.unheard_of", "warehouse")))
    assert found.verdict is Verdict.PASS
    assert found.doubt == (
        "1 of 1 order lost an event, and no fault shows for each of them that it had to"
    )


def test_no_doubt_is_left_about_a_record_that_was_spoiled() -> None:
    found = finding(buried())
    assert (found.verdict, found.doubt) == (Verdict.PASS, "")


def test_starts_are_excused_by_the_death_of_a_process_of_the_group() -> None:
    entries = buried()
    place = where(entries, "buried", group="validation")
    entries[place] = changed(entries[place], reason="starts")
    assert finding(entries).verdict is Verdict.FAIL
    killed = ("life", MS, "validation-1", "", "kill")
    assert finding([killed, *entries]).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("struck", "at_us", "went_on"),
    [
        (fault("proc.pause", "payment", 10 * S, lasts_us=5 * S), 12 * S, True),
        (fault("proc.pause", "payment", 10 * S, lasts_us=5 * S), 17 * S, False),
        (fault("proc.pause", "validation", 10 * S, lasts_us=5 * S), 12 * S, False),
        (fault("proc.crash", "handler.after_effect", 10 * S), 10 * S, True),
        (fault("clock.skew", "payment-2", 10 * S), 500 * S, True),
        (fault("bus.duplicate", "payment", 10 * S, subject=SUBJECT), 10 * S, False),
    ],
)
def test_a_fault_strikes_its_own_group_in_its_own_time(
    struck: Entry,
    at_us: int,
    went_on: bool,  # noqa: FBT001 - a case of a table
) -> None:
    causes = Causes()
    folds: dict[str, Callable[..., None]] = dict(causes.folds())
    folds[kind_of(struck)](struck)
    assert causes.went_on("payment", at_us, at_us) is went_on
