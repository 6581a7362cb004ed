"""Each promise catches a planted bug in the running system, and the system without it breaks none.

Not here: the bugs (one file per family), and bugs of histories made by hand
(`test_planted_histories.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from lab import run
from lab.checks.checker import Checker
from lab.checks.registry import NAMES
from lab.report.result import Result
from lab.settings import SIMULATED, settings_for
from lab.wiring.judging import contract_of
from tests.planted_bugs import (
    asked,
    attempts,
    claims,
    corners,
    dead_letters,
    decisions,
    delivery,
    excuses,
    expiry,
    keyed_cancels,
    large_orders,
    liveness,
    money,
    orders,
    positions,
    processes,
    questions,
    retries,
    shown,
    times,
    topics,
    traces,
)
from tests.planted_bugs.planting import NAMED, Bug, Setup, failed, run_with, run_without

BUGS: Final[tuple[Bug, ...]] = (
    *money.BUGS,
    *orders.BUGS,
    *decisions.BUGS,
    *asked.BUGS,
    *keyed_cancels.BUGS,
    *large_orders.BUGS,
    *shown.BUGS,
    *delivery.BUGS,
    *traces.BUGS,
    *times.BUGS,
    *topics.BUGS,
    *positions.BUGS,
    *dead_letters.BUGS,
    *retries.BUGS,
    *attempts.BUGS,
    *questions.BUGS,
    *claims.BUGS,
    *corners.BUGS,
    *expiry.BUGS,
    *processes.BUGS,
    *excuses.BUGS,
    *liveness.BUGS,
)

FIRST_OF_SETUP: Final = tuple({bug.setup: bug for bug in reversed(BUGS)}.values())
"""One bug for each run that several of them spoil."""

QUIET: Final = (
    "cancel-granted",
    "refused-leaves-nothing",
    "refused-for-a-reason",
    "idempotency-key",
    "expiry-in-time",
    "dedupe-sound",
    "dlq-sound",
    "dlq-complete",
    "excuse-earned",
    "retry-law",
    "retry-in-time",
    "retry-budget",
    "breaker-law",
    "graceful-shutdown",
)
"""Promises about what does not happen in a run in which nothing goes wrong."""

IDLE: Final = (
    "refused-leaves-nothing",
    "refused-for-a-reason",
    "one-owner",
    "bounded",
    "no-crash",
    "no-leak",
    "drains",
)
"""Promises about something that is there although no order was ever accepted."""


def named(bug: Bug) -> str:
    return f"{bug.promise}: {bug.name}"


@pytest.mark.parametrize("bug", BUGS, ids=named)
def test_a_planted_bug_breaks_its_promise_and_says_where(bug: Bug) -> None:
    found = failed(run_with(bug))

    assert set(found) == bug.broken(), {name: check.witness for name, check in found.items()}
    witness = found[bug.promise].witness
    assert bug.witness in witness
    assert NAMED.search(witness), witness


@pytest.mark.parametrize("bug", FIRST_OF_SETUP, ids=named)
def test_the_same_run_without_the_bug_breaks_no_promise(bug: Bug) -> None:
    result = run_without(bug.setup)

    # Some faults wait for what only the bug brings about.
    verdict = "UNKNOWN" if result.never_fired else "PASS"
    assert (result.verdict, failed(result)) == (verdict, {}), result.why


@pytest.mark.parametrize("bug", BUGS, ids=named)
def test_a_planted_bug_says_what_was_done_wrong_and_why_others_fall_with_it(bug: Bug) -> None:
    assert bug.story.endswith(".")
    assert bug.witness
    assert bug.parts or bug.off or bug.settings
    assert bug.promise not in bug.falls
    assert all(name in NAMES and why for name, why in bug.falls.items())


def test_every_promise_has_a_planted_bug() -> None:
    assert {bug.promise for bug in BUGS} == set(NAMES)


def test_every_planted_bug_has_a_name_of_its_own() -> None:
    names = [bug.name for bug in BUGS]

    assert sorted(names) == sorted(set(names))


def verdicts(result: Result) -> Mapping[str, str]:
    return {check.name: check.verdict for check in result.checks}


def test_a_promise_is_unknown_in_a_run_in_which_nothing_goes_wrong_unless_it_is_about_that() -> (
    None
):
    found = verdicts(run_without(Setup()))

    assert tuple(name for name in NAMES if found[name] == "UNKNOWN") == QUIET
    assert all(found[name] == "PASS" for name in NAMES if name not in QUIET)


def test_a_promise_is_unknown_in_a_run_in_which_every_order_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "refused.ndjson"
    line = (
        '{"at": "2024-01-01T00:00:0%d", "customer_id": "", "country": null, "currency": "EUR", '
        '"items": [{"sku": "A", "quantity": 1, "unit_price_cents": 100}]}\n'
    )
    file.write_text("".join(line % second for second in range(5)))

    result = run("real-orders", orders_from=str(file))

    found = verdicts(result)
    assert result.orders.refused == 5
    assert tuple(name for name in NAMES if found[name] == "PASS") == IDLE
    assert all(found[name] == "UNKNOWN" for name in NAMES if name not in IDLE)


@pytest.mark.parametrize("name", NAMES)
def test_a_promise_is_unknown_as_long_as_nothing_has_happened(name: str) -> None:
    checker = Checker(contract_of(settings_for(SIMULATED)), only=[name])
    checker.take([("phase", 0, "run", "", "faults"), ("phase", 1, "run", "", "end")])

    (finding,) = checker.findings()

    assert (finding.name, finding.verdict.value, finding.checked) == (name, "UNKNOWN", 0)
