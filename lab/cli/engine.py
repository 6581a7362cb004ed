"""The one door from the commands to the composition root."""

from typing import TYPE_CHECKING

from lab.cli.options import DEFAULT_OUT, Asked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.report.result import Result

    OnProgress = Callable[[int, int, str], None]


def run_one(asked: Asked, on_progress: "OnProgress | None" = None) -> "Result":
    """Run what was asked for under its own seed; files go to `--out` or `runs`.

    Raises:
        ScenarioError, SettingError, FaultError, OrdersFileError, RunFolderError: before anything
            is run or written.
    """
    return run_seed(asked, asked.seed, out=asked.out or DEFAULT_OUT, on_progress=on_progress)


def run_seed(
    asked: Asked, seed: int, *, out: "Path | None", on_progress: "OnProgress | None" = None
) -> "Result":
    """Run it under another seed; with `out` None no file is written."""
    from lab.wiring import run

    return run(
        asked.scenario,
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
        on_progress=on_progress,
    )
