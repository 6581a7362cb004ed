"""The one door from the commands to the composition root."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lab.cli.options import DEFAULT_OUT
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.history.recorder import Sink
    from lab.report.result import Mode, Result
    from lab.report.seeds import SeedRun
    from lab.scenarios.run_options import RunOptions

    OnProgress = Callable[[int, int, str], None]


RUNS_A_PROCESS: Final = 100
"""A killed process of a simulated world keeps its memory for ever, about 1 MiB a run: so the runs
of many seeds are spread over processes that come and go."""


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
        As `run_one`: with the first seed, in this process.
    """
    for seed in seeds[:RUNS_A_PROCESS]:
        run = _run_seed(options, seed)
        if run is None:
            return
        yield run
    for start in range(RUNS_A_PROCESS, len(seeds), RUNS_A_PROCESS):
        yield from _run_elsewhere(options, seeds[start : start + RUNS_A_PROCESS])


def _run_elsewhere(options: "RunOptions", seeds: Sequence[int]) -> "Iterator[SeedRun]":
    """Run the seeds in a process of their own, which ends afterwards."""
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        # Ctrl-C goes to the whole group; this process alone answers it.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        pending = [pool.submit(_run_seed, options, seed) for seed in seeds]
        try:
            for one in pending:
                run = one.result()
                assert run is not None, "nothing interrupts a run over there"
                yield run
        except BaseException:
            # Do not wait for runs that nobody will look at.
            pool.shutdown(cancel_futures=True)
            raise


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
