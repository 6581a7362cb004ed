"""How checks are run: in any order of witnesses, in bounded memory, and never silently wrong.

Not here: what each promise catches (`planted_bugs/`).
"""

import inspect
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.checks.check import Check, CheckError, Finding, Kind, Verdict
from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.checks.order_case import Case
from lab.checks.registry import NAMES, PROMISES
from lab.checks.run_numbers import Acted, Histogram
from lab.checks.verdict import GoalError, judge_run, parse_goal
from lab.domain.events import EVENT_OF_STATE, READS, TOPIC_OF
from lab.domain.order import TERMINAL, OrderState
from lab.history.entries import FACTS, KINDS, Entry, kind_of
from tests.kit.histories import (
    CONTRACT,
    HEALTHY,
    S,
    Story,
    changed,
    judge,
    plain,
    where,
    without,
)

EMPTY: Sequence[str] = ()


def test_an_empty_history_proves_nothing() -> None:
    assert {finding.verdict for finding in judge([]).values()} == {Verdict.UNKNOWN}


def test_every_promise_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len(set(NAMES)) == len(PROMISES) == 44
    assert all(promise.sentence[0].islower() for promise in PROMISES)


# ---- the checks' own tables


def test_the_tables_of_the_checks_agree_with_the_domain() -> None:
    from lab.checks import tables

    written = re.findall(r"^    (\w+)  +(.+)$", inspect.getdoc(OrderState) or "", re.MULTILINE)
    moves = {state: tuple(re.findall(r"[A-Z_]{2,}", to)) for state, to in written}
    assert moves == {state: to for state, to in tables.NEXT.items() if state}
    assert set(moves) == set(OrderState)
    assert set(map(str, TERMINAL)) == tables.TERMINAL
    assert {str(s): kind for s, kind in EVENT_OF_STATE.items()} == tables.EVENT_OF
    assert dict(TOPIC_OF) == tables.TOPIC_OF
    read = {(group, kind) for group, kinds in READS.items() for kind in kinds}
    assert read == {(g, kind) for kind, groups in tables.READERS.items() for g in groups}


# ---- independent of the order of witnesses


def _facts_last(entries: Sequence[Entry]) -> list[Entry]:
    """As in the real world: facts are gathered from the servers when the run has ended."""
    gathered = FACTS.keys() - {"phase", "life", "failed", "left"}
    late = [entry for entry in entries if kind_of(entry) in gathered]
    calls = [entry for entry in entries if kind_of(entry) not in gathered]
    return [*calls[:-1], *late, calls[-1]]


@pytest.mark.parametrize("name", HEALTHY)
def test_facts_that_are_gathered_at_the_end_change_no_verdict(name: str) -> None:
    entries = HEALTHY[name]()
    live, late = judge(entries), judge(_facts_last(entries))
    assert {n: f.verdict for n, f in live.items()} == {n: f.verdict for n, f in late.items()}
    assert {n: f.checked for n, f in live.items()} == {n: f.checked for n, f in late.items()}


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_how_a_history_is_cut_into_batches_changes_nothing(batch: int) -> None:
    assert judge(plain(), batch=batch) == judge(plain())


@given(st.randoms(use_true_random=False))
def test_the_order_between_processes_and_witnesses_changes_nothing(random: Any) -> None:
    """Any merge that keeps the order of each process, and of each witness about an order."""
    entries = HEALTHY["retried"]()
    lanes: dict[object, list[Entry]] = {}
    for entry in entries[: where(entries, "phase")]:
        kind, _, process, subject, *_ = entry
        lanes.setdefault((process, subject if kind in FACTS else ""), []).append(entry)
    merged: list[Entry] = []
    while lanes:
        key = random.choice(sorted(lanes, key=str))
        merged.append(lanes[key].pop(0))
        if not lanes[key]:
            del lanes[key]
    findings = judge([*merged, *entries[where(entries, "phase") :]])
    assert [f.witness for f in findings.values() if f.verdict == "FAIL"] == []


# ---- bounded state


def _many(orders: int) -> tuple[Checker, Story]:
    story, checker = Story(), Checker(CONTRACT)
    for ordinal in range(1, orders + 1):
        story.order(f"{ordinal}.1")
        story.commit_all()
        checker.take(story.entries)
        story.entries = []
        story.wait(10 * S)
    return checker, story


def test_an_order_that_has_come_to_its_end_is_kept_small_and_then_forgotten() -> None:
    checker, story = _many(40)
    book = checker._book
    assert len(book.open) <= 14
    assert len(book.packed) >= 26
    story.wait(CONTRACT.window_us + 1_000 * S)
    story.order("99.1")
    checker.take(story.entries)
    for _ in range(2):
        story.entries = []
        story.wait(CONTRACT.window_us)
        story.row("99.1", 5, "CANCELLED")
        checker.take(story.entries)
    assert not book.packed
    assert list(book.open) == ["99.1"]
    assert len(checker._facts._keys) == 1


def test_every_order_is_counted_once_however_early_it_was_judged() -> None:
    checker, story = _many(40)
    checker.take(story.end())
    findings = {finding.name: finding for finding in checker.findings()}
    assert findings["legal-transitions"].checked == 40
    assert findings["no-lost-event"].checked == 200
    assert checker.acted.by_state == {"CONFIRMED": 40}
    assert checker.acted.to_terminal.count == 40


def test_a_capture_of_an_order_that_was_judged_long_ago_is_noticed() -> None:
    checker, story = _many(40)
    assert "1.1" in checker._book.packed
    story.money("1.1", "capture", "another")
    checker.take(story.end())
    findings = {finding.name: finding for finding in checker.findings()}
    assert findings["no-double-charge"].witness.startswith("order 1: 2 captures")
    assert findings["no-double-charge"].checked == 40


def test_a_second_mail_about_an_order_that_was_judged_long_ago_is_noticed() -> None:
    for key in ("OrderCreated:1.1", "attempt-2"):
        checker, story = _many(40)
        story.write("ledger", "ledger", "1.1", "mailer", "mail", key, "OrderCreated", 0, "")
        checker.take(story.end())
        findings = {finding.name: finding for finding in checker.findings()}
        assert "mail" in findings["effect-once"].witness


def test_a_late_duplicate_of_a_judged_order_breaks_nothing() -> None:
    checker, story = _many(40)
    place = story.deliver("payment-1", "1.1", "OrderValidated")
    story.settle("payment-1", "1.1", place, why="done")
    story.append("1.1", "OrderValidated", "validation")
    checker.take(story.end())
    assert [f.witness for f in checker.findings() if f.verdict == "FAIL"] == []


def test_a_second_unit_of_work_of_a_judged_order_is_noticed() -> None:
    checker, story = _many(40)
    story.handle("payment-1", "1.1", "OrderValidated", version=2)
    checker.take(story.end())
    findings = {finding.name: finding for finding in checker.findings()}
    assert findings["effect-once"].subject == "1.1"


# ---- never silently wrong


class Careless(Check):
    name = "careless"
    sentence = "a check that raises"

    def judge(self, case: Case) -> None:
        raise ZeroDivisionError(case.subject)


def test_a_check_that_raises_is_an_internal_error_and_no_pass() -> None:
    checker = Checker(CONTRACT, checks=[Careless(CONTRACT)])
    checker.take(plain())
    with pytest.raises(CheckError, match="ZeroDivisionError"):
        checker.findings()


def test_an_entry_that_cannot_be_read_is_an_internal_error_and_stops_nobody_else() -> None:
    checker = Checker(CONTRACT)
    checker.take([("row", 1, "store", "37.1")])
    checker.take(plain())
    with pytest.raises(CheckError, match="Expected 12 arguments, got 4"):
        checker.findings()


def test_a_run_that_was_interrupted_breaks_no_promise_about_what_is_missing() -> None:
    entries = plain()
    for cut in range(0, where(entries, "phase"), 5):
        findings = judge(entries[:cut])
        assert [f.witness for f in findings.values() if f.verdict == "FAIL"] == []
        assert findings["converges"].verdict == findings["drains"].verdict == Verdict.UNKNOWN


def test_only_the_promises_that_were_asked_for_are_judged() -> None:
    checker = Checker(CONTRACT, only=("converges", "no-leak"))
    checker.take(plain())
    assert [finding.name for finding in checker.findings()] == ["no-leak", "converges"]


def test_every_fold_takes_the_entries_of_its_kind() -> None:
    checker = Checker(CONTRACT)
    parts = (checker._facts, checker._calls, checker._deliveries, checker.acted)
    tables = [table for part in parts for table in (part.folds(), part.hot_folds())]
    tables += [check.folds() for check in checker._checks]

    taken = [
        (kind, next(iter(get_type_hints(fold).values())))
        for table in tables
        for kind, fold in table.items()
    ]

    assert len(taken) > 40
    assert [kind for kind, entry_type in taken if entry_type is not KINDS[kind]] == []


# ---- numbers


@given(st.lists(st.integers(min_value=0, max_value=10**10), min_size=1, max_size=200))
def test_a_percentile_is_at_most_a_hundredth_below_the_true_one(lengths: list[int]) -> None:
    histogram = Histogram()
    for length in lengths:
        histogram.add(length)
    ranked = sorted(lengths)
    for percent in (1, 50, 95, 99, 100):
        rank = max(-(-percent * len(ranked) // 100) - 1, 0)
        found, true = histogram.percentile(percent), ranked[rank]
        assert true * 127 // 128 <= found <= true
    assert histogram.largest_us == ranked[-1]


def test_the_numbers_of_a_run_are_those_of_its_history() -> None:
    checker = Checker(CONTRACT)
    entries = HEALTHY["cancelled"]()
    checker.take(entries)
    checker.findings()
    acted, kinds = checker.acted, Counter(map(kind_of, entries))
    assert acted.orders == 1
    assert acted.happened("REFUNDED") == 1
    assert acted.deliveries == kinds["deliver"]
    assert acted.attempts == kinds["handle.begin"]
    assert acted.calls == kinds["call.end"]


# ---- the verdict on a run


def _finding(name: str, verdict: Verdict) -> Finding:
    broken = verdict is Verdict.FAIL
    return Finding(
        name=name,
        sentence="",
        kind=Kind.SAFETY,
        verdict=verdict,
        checked=0 if verdict is Verdict.UNKNOWN else 1,
        violations=int(broken),
    )


def _acted(*entries: Entry, orders: int = 100) -> Acted:
    checker = Checker(CONTRACT, checks=())
    if entries:
        checker.take(entries)
    checker.acted.by_state["CONFIRMED"] = orders
    return checker.acted


def _verdict(
    *findings: Finding,
    acted: Acted | None = None,
    goals: Sequence[str] = EMPTY,
    listed: Sequence[str] = EMPTY,
    off: Sequence[str] = EMPTY,
    never_fired: Sequence[str] = EMPTY,
) -> str:
    found = judge_run(
        findings,
        acted or _acted(),
        goals=[parse_goal(goal) for goal in goals],
        listed=listed,
        off=off,
        never_fired=never_fired,
    )
    return f"{found.verdict} {found.why}".strip()


def _fault(kind: str, site: str = "payment", subject: str = "1.1") -> Entry:
    return ("fault", 1, "run", subject, kind, site, 1, 0)


def test_a_broken_promise_makes_the_run_fail_whatever_else_there_is() -> None:
    findings = _finding("converges", Verdict.FAIL), _finding("bounded", Verdict.UNKNOWN)
    assert _verdict(*findings, goals=["bus.duplicate >= 1"]) == "FAIL 1 promise broken: converges"


def test_a_goal_that_was_not_reached_makes_the_run_unknown() -> None:
    acted = _acted(_fault("bus.duplicate"), _fault("bus.duplicate", subject="2.1"))
    assert _verdict(acted=acted, goals=["bus.duplicate >= 2 %"]) == "PASS"
    assert _verdict(acted=acted, goals=["bus.duplicate >= 3 %"]).startswith("UNKNOWN the goal")
    assert _verdict(goals=["bus.duplicate >= 0 %"]).startswith("UNKNOWN")


def test_a_fault_that_was_asked_for_and_never_fired_makes_the_run_unknown() -> None:
    fault = "proc.crash@dedupe.after_claim#999"
    told = f"UNKNOWN a fault that was asked for never fired: {fault}"
    assert _verdict(never_fired=[fault]) == told
    assert _verdict(never_fired=[fault], off=["dedupe"]) == "PASS", "there is no such place then"
    assert _verdict(never_fired=[fault, "svc.slow rate=0"], off=["dedupe"]).endswith("rate=0")
    assert _verdict(_finding("converges", Verdict.FAIL), never_fired=[fault]).startswith("FAIL 1")


def test_a_share_counts_orders_and_a_number_counts_firings() -> None:
    acted = _acted(*[_fault("bus.duplicate")] * 4)
    assert _verdict(acted=acted, goals=["bus.duplicate >= 4"]) == "PASS"
    assert _verdict(acted=acted, goals=["bus.duplicate >= 4 %"]).startswith("UNKNOWN")


def test_a_goal_can_name_a_site_a_state_or_what_a_pattern_did() -> None:
    acted = _acted(
        _fault("proc.crash", "api.after_commit"),
        ("acted", 1, "payment-1", "1.1", "retry", "recovered"),
    )
    goals = ["proc.crash@api.after_commit >= 1", "CONFIRMED >= 90 %", "retry.recovered >= 1"]
    assert _verdict(acted=acted, goals=goals) == "PASS"


@pytest.mark.parametrize(
    ("goal", "off"),
    [
        ("retry.recovered >= 1", "retry"),
        ("REFUNDED >= 1", "compensation"),
        ("proc.crash@dedupe.after_claim >= 1", "dedupe"),
    ],
)
def test_a_goal_that_only_a_part_that_is_off_can_reach_is_not_applicable(
    goal: str, off: str
) -> None:
    assert _verdict(goals=[goal]).startswith("UNKNOWN")
    assert _verdict(goals=[goal], off=[off]) == "PASS"


def test_a_listed_promise_that_was_not_exercised_makes_the_run_unknown() -> None:
    finding = _finding("dedupe-sound", Verdict.UNKNOWN)
    assert _verdict(finding) == "PASS"
    listed = ["dedupe-sound"]
    assert _verdict(finding, listed=listed) == "UNKNOWN dedupe-sound was not exercised"
    assert _verdict(finding, listed=listed, off=["dedupe"]).startswith("UNKNOWN")
    assert _verdict(finding, listed=listed, off=["dedupe", "inbox"]) == "PASS"


def test_a_limiter_that_tripped_makes_the_run_unknown_unless_it_is_the_goal() -> None:
    acted = _acted(("paused", 1, "payment-1", "", "payment", "dead_letters", 60 * S))
    assert _verdict(acted=acted).startswith("UNKNOWN too much died")
    assert _verdict(acted=acted, goals=["limiter >= 1"]) == "PASS"


@pytest.mark.parametrize("text", ["", "duplicates", "x > 3", "x >= -1", "x >= 1e9", "x >= 3 %%"])
def test_a_goal_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(GoalError, match="one looks like"):
        parse_goal(text)


# ---- contracts


def test_the_declared_policy_is_judged_and_not_what_was_done() -> None:
    """With retries off, an event that dies at its first failure has not used up its attempts."""
    story, subject = Story(), "37.1"
    story.ask(subject)
    place = story.deliver("validation-1", subject, "OrderCreated")
    event = "OrderCreated:37.1"
    story.handle("validation-1", subject, "OrderCreated", result="Transient")
    story.write("outcome", "store", subject, "validation", event, "dead", 0)
    story.append(subject, "OrderCreated", "orders.validation.dlq", 1)
    story.write("buried", "validation-1", subject, "validation", event, "exhausted", 1, 0, 0)
    story.settle("validation-1", subject, place, why="dead")
    story.receive(subject)
    entries = story.end()
    assert judge(entries)["converges"].witness == "order 37: it is PENDING at the end"
    assert judge(entries, _with_attempts(1))["converges"].verdict == Verdict.PASS


def _with_attempts(attempts_max: int) -> Contract:
    from dataclasses import replace

    return replace(CONTRACT, attempts_max=attempts_max)


def test_a_dead_letter_whose_reason_died_with_its_process_is_believed() -> None:
    entries = without(HEALTHY["buried"](), lambda e: e["kind"] == "buried")
    assert judge(entries)["converges"].verdict == Verdict.PASS


def test_a_begin_without_an_end_is_settled_by_what_survived() -> None:
    """The process died after its commit: the row says so, the second delivery is suppressed."""
    entries = plain()
    end = where(entries, "commit.end", subject="37.1", group="orders")
    settle = where(entries, "settle", subject="37.1", group="orders")
    again = [
        changed(entries[where(entries, "owned", group="orders")], epoch=2),
        changed(entries[where(entries, "deliver", subject="37.1", group="orders")], epoch=2),
        changed(entries[settle], why="done", epoch=2),
    ]
    claim = where(entries, "claim", group="orders", event_id="PaymentCaptured:37.1")
    lost = (claim, end, end + 1, end + 2, settle)
    rest = [entry for n, entry in enumerate(entries) if n not in lost]
    findings = judge([*rest[: end - 1], *again, *rest[end - 1 :]])
    assert [f.witness for f in findings.values() if f.verdict == "FAIL"] == []
    assert findings["dedupe-sound"].checked == 1
