"""Claims about many small runs out of one prepared spec, in one process."""

import gc
from dataclasses import replace

import pytest

from lab import run
from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import SMALL, judged, with_seed
from lab.wiring.spec import make_spec


@pytest.mark.parametrize("scenario", ["crashes", "everything"])
def test_a_prepared_run_under_another_seed_is_the_run_of_that_seed(scenario: str) -> None:
    spec = make_spec(RunOptions(scenario=scenario, orders=2))

    for seed in (7, 11):
        ran = judged(with_seed(spec, seed))

        assert ran.digest == run(scenario, orders=2, seed=seed).digest
        assert ran.spec.seed == ran.spec.options.seed == seed


def test_another_seed_leaves_the_onlooker_in_its_place() -> None:
    seen: list[int] = []

    class Watch:
        """Counts."""

        def take(self, batch: object) -> None:
            assert isinstance(batch, list)
            seen.append(len(batch))

    spec = make_spec(RunOptions(scenario="everything", orders=1))
    judged(with_seed(replace(spec, watch=Watch()), 3))

    assert sum(seen) > 50


def test_a_small_run_keeps_every_promise_that_the_same_run_keeps_with_the_defaults() -> None:
    small = judged(make_spec(RunOptions(scenario="crashes", orders=3, settings=SMALL)))
    default = judged(make_spec(RunOptions(scenario="crashes", orders=3)))

    assert not [one.name for one in small.findings if one.verdict.value == "FAIL"]
    assert [one.name for one in small.findings] == [one.name for one in default.findings]


def test_a_run_collects_its_own_cycles_and_what_was_dropped_of_the_one_before() -> None:
    spec = make_spec(RunOptions(scenario="happy-path", orders=1, settings=SMALL))
    judged(spec)
    gc.collect()
    gc.disable()
    try:
        counts = []
        for _ in range(4):
            judged(spec)
            counts.append(len(gc.get_objects()))
    finally:
        gc.enable()

    assert max(counts) - min(counts) < 50
