"""Claims about proofs: each plan is covered or rightly left out; what two faults break is found."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from lab.cli import app
from lab.explore.proof import PROOF_SCHEMA_VERSION, proof_of
from lab.explore.proving import PLANS_A_TASK, Proving, run_slice
from lab.explore.spread import spread, workers
from lab.explore.visits import PROVEN, key_of, run_noting, sites_of
from lab.faults.plan.file import Firing
from lab.scenarios.run_options import RunOptions

FEW = ("bus.duplicate", "bus.drop_ack", "redis.evict")
ONE = RunOptions(scenario="happy-path", orders=1)
TWO_BREAK = RunOptions(scenario="happy-path", orders=1, off=("inbox",))


def proven(options: RunOptions, faults: int, kinds: Sequence[str], **limits: int) -> Proving:
    proving = Proving(options, faults, kinds=kinds)
    with workers(jobs=1) as pool:
        proving.run(pool, **limits)  # type: ignore[arg-type]  # the limits that are named
    return proving


def test_every_fault_of_a_plan_strikes_and_the_run_until_then_is_the_one_without_it() -> None:
    spec = Proving(ONE, 1).spec
    _, calm = run_noting(spec, (), tuple(PROVEN))

    assert {one.kind for one in calm} == set(PROVEN)
    assert len(set(map(key_of, calm))) == len(calm)
    for place in range(0, len(calm), 9):
        ran, visits = run_noting(spec, calm[place : place + 1], tuple(PROVEN))
        assert [key_of(one) for one in ran.plan.firings] == [key_of(calm[place])]
        assert visits[: place + 1] == calm[: place + 1]


@pytest.mark.slow
def test_a_plan_that_was_left_out_is_one_that_was_covered() -> None:
    proving = Proving(ONE, 2, kinds=FEW)
    spec, kinds = proving.spec, proving.kinds

    def digest(*firings: Firing) -> str:
        return run_noting(spec, firings, kinds)[0].digest

    _, calm = run_noting(spec, (), kinds)
    behind = {
        key_of(one): run_noting(spec, (one,), kinds)[1][place + 1 :]
        for place, one in enumerate(calm)
    }
    left_out = 0
    for first, second in combinations(calm, 2):
        if key_of(second) not in set(map(key_of, behind[key_of(first)])):
            left_out += 1
            # In whichever order it is said, it is the run of the first alone.
            assert digest(second, first) == digest(first)
    new = {key_of(one) for some in behind.values() for one in some} - set(map(key_of, calm))
    later = sum(key_of(one) in new for some in behind.values() for one in some)

    assert left_out, "the rule is put to no test"
    assert new, "no visit exists because of a fault alone"
    with workers(jobs=1) as pool:
        proving.run(pool, counts_only=True)
    count, pairs = len(calm), len(calm) * (len(calm) - 1) // 2
    assert [level.plans for level in proving.levels] == [1, count, pairs - left_out + later]
    assert (proving.levels[2].gone, proving.levels[2].other_order) == (left_out, pairs)
    assert (proving.covered, proving.left) == (1 + count, pairs - left_out + later)


@pytest.mark.slow
def test_what_breaks_by_two_faults_only_holds_with_one_and_is_found_with_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("bus.duplicate", "redis.evict")
    one = proof_of(proven(TWO_BREAK, 1, kinds), elapsed_s=1.0, out=tmp_path)
    two = proof_of(proven(TWO_BREAK, 2, kinds), elapsed_s=1.0, out=tmp_path)

    assert (one.verdict, one.partial, one.left, one.broken) == ("PASS", False, 0, None)
    assert one.covered == sum(level.plans or 0 for level in one.levels)
    assert (two.verdict, two.partial, two.left) == ("FAIL", False, 0)
    assert two.broken is not None
    assert [firing.kind for firing in two.broken.firings] == list(kinds)
    assert two.broken.faults == ("bus.duplicate@validation#1:1", "redis.evict@validation#1:2")
    assert app.run_command(shlex.split(two.broken.reproduce)[1:]) == 1
    assert two.broken.witness in " ".join(capsys.readouterr().out.split())


def test_with_the_pattern_on_two_faults_break_nothing() -> None:
    proving = proven(replace(TWO_BREAK, off=()), 2, ("bus.duplicate", "redis.evict"), plans_max=60)

    assert proving.breaks is None
    assert proving.covered == 60


def test_a_proof_that_ends_early_is_unknown_and_says_how_much_is_left(tmp_path: Path) -> None:
    proving = proven(ONE, 2, FEW, plans_max=7)
    proof = proof_of(proving, elapsed_s=8.0, out=tmp_path)

    assert (proof.verdict, proof.partial, proof.covered) == ("UNKNOWN", True, 7)
    ones = proof.levels[1].plans
    assert ones is not None
    assert proof.levels[2].plans is None
    # The second level is not counted yet, and guessed.
    assert proof.left > ones - 6 + ones
    assert proof.left_s == pytest.approx(8.0 / 7 * proof.left, abs=0.1)
    assert proof.schema_version == PROOF_SCHEMA_VERSION
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_covered_does_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    proofs = []
    for jobs in (1, 2):
        proving = Proving(TWO_BREAK, 2, kinds=FEW)
        with workers(jobs=jobs) as pool:
            proving.run(pool)
        proofs.append(proof_of(proving, elapsed_s=1.0, out=tmp_path))

    assert proofs[0].broken is not None
    assert proofs[1].broken is not None
    assert proofs[0].broken.firings == proofs[1].broken.firings
    assert proofs[0].levels == proofs[1].levels


def test_tasks_hold_every_plan_once() -> None:
    proving = Proving(ONE, 1)
    with workers(jobs=1) as pool:
        (calm,) = next(iter(spread(pool, run_slice, [proving._slice(())])))
    tasks = list(proving._slices([calm]))

    assert len(tasks) > 1
    assert [task.start for task in tasks] == list(range(0, calm.behind, PLANS_A_TASK))
    assert [task.stop for task in tasks[:-1]] == [task.start for task in tasks[1:]]
    assert tasks[-1].stop == calm.behind


def test_crashes_at_a_random_boundary_are_no_visit() -> None:
    assert "any" not in sites_of("proc.crash")
    assert "handler.after_commit" in sites_of("proc.crash")
