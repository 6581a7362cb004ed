"""Keywords of `lab.run`: what is plain is read, what is not is refused by its name."""

import asyncio
from pathlib import Path

import pytest

from lab import run
from lab.scenarios.loader import ScenarioError
from lab.scenarios.run_options import RunOptions
from lab.wiring.given import options_given


def options(**given: object) -> RunOptions:
    defaults = {name: getattr(RunOptions(scenario="x"), name) for name in RunOptions.__slots__}
    return options_given({**defaults, "scenario": "happy-path", **given})


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("off", "dedupe", ("dedupe",)),
        ("off", "dedupe, inbox", ("dedupe", "inbox")),
        ("off", ["dedupe"], ("dedupe",)),
        ("only", "drains,converges", ("drains", "converges")),
        ("faults", "bus.duplicate rate=0.1", ("bus.duplicate rate=0.1",)),
        ("scenarios", "x.toml", (Path("x.toml"),)),
        ("scenarios", ["x.toml", Path("y.toml")], (Path("x.toml"), Path("y.toml"))),
        ("out", "runs", Path("runs")),
        ("orders_from", Path("a.csv"), "a.csv"),
        ("rate", 3, 3.0),
        ("settings", None, {}),
    ],
)
def test_what_is_plain_is_read(name: str, given: object, read: object) -> None:
    assert getattr(options(**{name: given}), name) == read


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("scenario", 7),
        ("real", "yes"),
        ("keep", 1),
        ("seed", True),
        ("seed", "7"),
        ("orders", True),
        ("orders", 2.5),
        ("rate", "x"),
        ("rate", float("nan")),
        ("speed", None),
        ("off", 7),
        ("off", [7]),
        ("faults", {"bus.duplicate": 0.1}),
        ("settings", "retry.attempts_max=3"),
        ("settings", {7: 3}),
        ("scenarios", [7]),
        ("history", "x"),
        ("out", ""),
        ("out", 7),
        ("orders_from", ""),
        ("bus", None),
    ],
)
def test_what_is_not_is_refused_by_name(name: str, given: object) -> None:
    with pytest.raises(ScenarioError, match=rf"^{name} must be "):
        options(**{name: given})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 1e-300}, "rate must be from 1e-09 to 1,000,000, not 1e-300"),
        ({"seed": -1}, "seed must be from 0 to 9,223,372,036,854,775,807, not -1"),
        ({"orders": 0}, "orders must be from 1 to "),
    ],
)
def test_a_limit_names_both_its_ends(given: dict[str, int], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        run("happy-path", **given)  # type: ignore[arg-type]  # one keyword after another


def test_a_run_inside_a_running_loop_is_the_same_run() -> None:
    async def notebook_cell() -> str:
        return run("happy-path", orders=1).digest

    assert asyncio.run(notebook_cell()) == run("happy-path", orders=1).digest
