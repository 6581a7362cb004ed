"""Findings do not depend on how the accounts of many witnesses are merged into one history.

A real run has no list of what happened in its order: each process has its own, and what servers
know is asked for at the end, by clocks that are a little apart. The histories of simulated runs,
of sound systems and of broken ones, are torn apart and merged anew.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from lab import run
from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.history.entries import Entry
from lab.history.journal import Journal, merged, read_journal
from lab.report.result import Result
from tests.kit.merging import CLOCKS_APART_US, MERGES, batches, by_witness
from tests.planted_bugs import (
    dead_letters,
    delivery,
    liveness,
    money,
    orders,
    positions,
    processes,
    retries,
    times,
    topics,
)
from tests.planted_bugs.planting import Bug, planted

pytestmark = pytest.mark.slow

SCENARIOS = (
    "happy-path",
    "duplicates",
    "timeouts",
    "hung-after-charge",
    "poison-message",
    "crashes",
    "crash-before-ack",
    "crash-between-commit-and-publish",
    "graceful-shutdown",
    "client-retries",
    "cancellation",
)

BROKEN = {
    bug.promise: bug
    for family in (
        money,
        orders,
        delivery,
        positions,
        dead_letters,
        retries,
        processes,
        liveness,
        times,
        topics,
    )
    for bug in family.BUGS
}
"""One planted bug for each promise."""


@contextmanager
def overheard() -> Iterator[list[tuple[Checker, Sequence[Entry]]]]:
    """Inside, whatever a checker takes is noted."""
    noted: list[tuple[Checker, Sequence[Entry]]] = []
    take = Checker.take

    def note(self: Checker, batch: Sequence[Entry]) -> None:
        noted.append((self, list(batch)))
        take(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checker, "take", note)
        yield noted


def history_of(make: Callable[[], Result]) -> tuple[list[Entry], Contract]:
    """The entries of a run, in their true order, and the contract that they are judged by.

    It is that of a run whose clocks differ as those of the merged witnesses do.
    """
    with overheard() as noted:
        make()
    checker = noted[-1][0]
    contract = replace(checker.contract, skew_us=checker.contract.skew_us + CLOCKS_APART_US)
    return [entry for who, batch in noted if who is checker for entry in batch], contract


@cache
def scenario(name: str) -> tuple[list[Entry], Contract]:
    return history_of(lambda: run(name, orders=100))


def broken(name: str) -> tuple[list[Entry], Contract]:
    bug: Bug = BROKEN[name]

    def make() -> Result:
        with planted(bug):
            return bug.setup.run(off=bug.off, settings=bug.settings)

    return history_of(make)


Found = dict[str, tuple[str, int]]


def found_in(entries: Sequence[Entry], contract: Contract) -> Found:
    """Verdict and number of violations, by promise."""
    checker = Checker(contract)
    for batch in batches(entries):
        checker.take(batch)
    return {each.name: (each.verdict.value, each.violations) for each in checker.findings()}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_sound_run_is_judged_alike_however_its_history_is_merged(name: str) -> None:
    entries, contract = scenario(name)
    expected = found_in(entries, contract)

    for merge in MERGES:
        for seed in (1, 2):
            assert found_in(merge(entries, seed), contract) == expected, (merge, seed)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_run_is_judged_alike_however_its_history_is_merged(name: str) -> None:
    entries, contract = broken(name)
    expected = found_in(entries, contract)
    assert any(verdict == "FAIL" for verdict, _ in expected.values())

    for seed, merge in enumerate(MERGES):
        assert found_in(merge(entries, seed), contract) == expected, merge


@pytest.mark.parametrize("name", ["crashes", "graceful-shutdown"])
def test_a_run_is_judged_alike_by_its_journals(name: str, tmp_path: Path) -> None:
    entries, contract = scenario(name)
    paths = []
    for number, told in enumerate(by_witness(entries).values()):
        paths.append(tmp_path / f"{number}")
        journal = Journal(paths[-1], on_failure=print)
        for entry in told:
            journal.write(entry)
        journal.close()

    again = list(merged([read_journal(path) for path in paths]))

    assert sorted(map(repr, again)) == sorted(map(repr, entries))
    assert found_in(again, contract) == found_in(entries, contract)
