"""The one door from the commands to the composition root."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from lab.cli.options import DEFAULT_OUT, Asked
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.history.recorder import Sink
    from lab.report.result import Mode, Result
    from lab.report.seeds import SeedRun

    OnProgress = Callable[[int, int, str], None]


RUNS_A_PROCESS: Final = 100
"""A killed process of a simulated world keeps its memory for ever, about 1 MiB a run: so the runs
of many seeds are spread over processes that come and go."""


def run_one(
    asked: Asked, on_progress: "OnProgress | None" = None, watch: "Sink | None" = None
) -> "Result":
    """Run what was asked for under its own seed; files go to `--out` or `runs`.

    Raises:
        ScenarioError, SettingError, FaultError, OrdersFileError, RunFolderError: before anything
            is run or written.
    """
    out = asked.out or DEFAULT_OUT
    return run_seed(asked, asked.seed, out=out, on_progress=on_progress, watch=watch)


def run_seed(
    asked: Asked,
    seed: int,
    *,
    out: "Path | None",
    on_progress: "OnProgress | None" = None,
    watch: "Sink | None" = None,
) -> "Result":
    """Run it under another seed; with `out` None no file is written."""
    from lab.wiring.run import run

    with ended_as_by_ctrl_c():
        return run(
            asked.experiment,
            real=asked.real,
            bus=asked.bus,
            store=asked.store,
            dedupe=asked.dedupe,
            wall_clock=asked.wall_clock,
            keep=asked.keep,
            seed=seed,
            orders=asked.orders,
            rate=asked.rate,
            orders_from=asked.orders_from,
            speed=asked.speed,
            faults=asked.faults,
            off=asked.off,
            settings=asked.settings,
            only=asked.only,
            scenarios=asked.scenarios,
            history=asked.history,
            out=out,
            beyond_contract=asked.beyond_contract,
            watch=watch,
            on_progress=on_progress,
        )


def world_of(asked: Asked) -> "Mode":
    """The world in which it runs, as results name it."""
    from lab.wiring.spec import choose_makes

    return choose_makes(
        real=asked.real,
        bus=asked.bus,
        store=asked.store,
        dedupe=asked.dedupe,
        wall_clock=asked.wall_clock,
    ).mode


def run_seeds(asked: Asked, seeds: Sequence[int], *, out: "Path | None") -> "Iterator[SeedRun]":
    """Run it under each seed in turn; ends early where one was interrupted.

    Raises:
        As `run_one`: with the first seed, in this process.
    """
    for seed in seeds[:RUNS_A_PROCESS]:
        run = _seed_run(asked, seed, out)
        if run is None:
            return
        yield run
    for start in range(RUNS_A_PROCESS, len(seeds), RUNS_A_PROCESS):
        yield from _elsewhere(asked, seeds[start : start + RUNS_A_PROCESS], out)


def _elsewhere(asked: Asked, seeds: Sequence[int], out: "Path | None") -> "Iterator[SeedRun]":
    """Run the seeds in a process of their own, which ends afterwards."""
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        # Ctrl-C goes to the whole group; this process decides what becomes of it.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:
        runs = [pool.submit(_seed_run, asked, seed, out) for seed in seeds]
        try:
            for run in runs:
                found = run.result()
                assert found is not None, "nothing interrupts a run over there"
                yield found
        except BaseException:
            # Do not wait for runs that nobody will look at.
            pool.shutdown(cancel_futures=True)
            raise


def _seed_run(asked: Asked, seed: int, out: "Path | None") -> "SeedRun | None":
    """The summary of one run; None if it was interrupted."""
    from lab.report.seeds import seed_run

    result = run_seed(asked, seed, out=out)
    return None if result.partial else seed_run(result)
