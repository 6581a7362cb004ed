"""What was asked of a run travels whole: from keywords to options, and back to a command line."""

import dataclasses
import inspect
from pathlib import Path

import pytest

from lab import run
from lab.scenarios.run_options import RunOptions
from lab.settings import SettingError
from lab.wiring.reproduce import reproduce_line
from lab.wiring.spec import make_spec


def test_every_keyword_of_run_is_an_option_of_a_run_with_the_same_default() -> None:
    keywords = dict(inspect.signature(run).parameters)
    del keywords["on_progress"]
    del keywords["watch"]
    options = {field.name: field for field in dataclasses.fields(RunOptions)}

    assert list(keywords) == list(options)
    for name, keyword in keywords.items():
        if name not in ("scenario", "settings"):
            assert keyword.default == options[name].default, name


def test_the_line_that_repeats_a_run_names_what_was_asked_for_and_nothing_else() -> None:
    asked = RunOptions(
        scenario="happy-path",
        wall_clock=True,
        seed=7,
        orders=9,
        rate=2.5,
        speed=3.0,
        faults=("bus.duplicate rate=0.2", "svc.error rate=1"),
        off=("inbox", "dedupe"),
        settings={"retry.tiers_ms": [500, 2_000], "payment.key_mode": "none"},
        only=("effect-once", "converges"),
        history="all",
        out=Path("elsewhere"),
        beyond_contract=True,
    )

    line = reproduce_line(make_spec(asked))

    assert line == (
        "lab run happy-path --seed 7 --orders 9 --rate 2.5 --speed 3 "
        "--fault 'bus.duplicate rate=0.2' --fault 'svc.error rate=1' --off inbox,dedupe "
        "--set retry.tiers_ms=500,2000 --set payment.key_mode=none --only effect-once,converges "
        "--beyond-contract --history all --wall-clock"
    )
    assert reproduce_line(make_spec(RunOptions(scenario="happy-path"))) == (
        "lab run happy-path --seed 1"
    )


def test_the_line_that_repeats_a_run_names_its_real_parts() -> None:
    partly = RunOptions(scenario="happy-path", bus="kafka", dedupe="redis", keep=True)
    whole = RunOptions(scenario="happy-path", real=True)

    assert reproduce_line(make_spec(partly)).endswith("--seed 1 --bus kafka --dedupe redis --keep")
    assert reproduce_line(make_spec(whole)).endswith("--seed 1 --real")


@pytest.mark.parametrize("name", ["bus.replication", "bus.min_insync"])
def test_more_copies_than_brokers_in_memory_are_refused_where_one_of_them_dies(name: str) -> None:
    moved = ("bus.leader_move@broker-1 at=1s for=1s",)
    for copies, faults in ((3, moved), (4, ())):
        make_spec(RunOptions(scenario="happy-path", faults=faults, settings={name: copies}))
    with pytest.raises(SettingError, match="more copies than there are brokers"):
        make_spec(RunOptions(scenario="happy-path", faults=moved, settings={name: 4}))
