"""The one door from the commands to the composition root."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lab.cli.options import DEFAULT_OUT
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.history.recorder import Sink
    from lab.report.result import Mode, Result
    from lab.report.seeds import SeedRun
    from lab.scenarios.run_options import RunOptions

    OnProgress = Callable[[int, int, str], None]


def name_of(options: "RunOptions") -> str:
    """The name of the scenario."""
    scenario = options.scenario
    return scenario if isinstance(scenario, str) else scenario.name


def mode_of(options: "RunOptions") -> "Mode":
    """The world in which it runs, as results name it."""
    from lab.wiring.spec import choose_world

    return choose_world(options).mode


def run_one(
    options: "RunOptions",
    on_progress: "OnProgress | None" = None,
    watch: "Sink | None" = None,
) -> "Result":
    """One run; its files go to `runs` if `--out` was not given.

    Raises:
        ScenarioError, SettingError, FaultError, OrdersFileError, RunFolderError: before anything
            is run or written.
    """
    return _run(replace(options, out=options.out or DEFAULT_OUT), on_progress, watch)


def run_seeds(options: "RunOptions", seeds: Sequence[int]) -> "Iterator[SeedRun]":
    """A run under each seed in turn, without files if `--out` was not given.

    Ends early where one was interrupted.

    Raises:
        As `run_one`: with the first seed.
    """
    for seed in seeds:
        run = _run_seed(options, seed)
        if run is None:
            return
        yield run


def _run_seed(options: "RunOptions", seed: int) -> "SeedRun | None":
    """The summary of one run; None if it was interrupted."""
    from lab.report.seeds import seed_run

    result = _run(replace(options, seed=seed))
    return None if result.partial else seed_run(result)


def _run(
    options: "RunOptions",
    on_progress: "OnProgress | None" = None,
    watch: "Sink | None" = None,
) -> "Result":
    from lab.wiring.run import run_spec
    from lab.wiring.spec import make_spec

    with ended_as_by_ctrl_c():
        return run_spec(replace(make_spec(options), watch=watch), on_progress=on_progress)
