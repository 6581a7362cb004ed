"""What the commands that make many runs share: who makes them, their bar, Ctrl-C, their result.

Not here: the commands, and the workers (`lab.explore.spread`).
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import Display
from lab.cli.output import print_result
from lab.cli.stopping import ended_as_by_ctrl_c

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.explore.spread import Crew

JOBS_MAX: Final = 256

Bar = Callable[[int, int | None, str], None]
"""`bar(done, total, unit)`, see `ProgressBar.tell`."""

Jobs = Annotated[
    str | None,
    typer.Option("--jobs", metavar="N", help="Processes that run side by side.  [all cores]"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Run on a Dask cluster, such as tcp://10.0.0.1:8786 (pulse-lab[cluster]).",
    ),
]


def read_workers(jobs: str | None, cluster: str | None) -> tuple[int, str | None]:
    """How many processes of this machine, or the address of a cluster.

    Raises:
        OptionError: a value cannot be used, or the flags contradict each other.
    """
    from lab.explore.spread import cores

    values = FlagValues()
    found, address = values.whole("jobs", jobs), values.text("cluster", cluster)
    if found is not None and address is not None:
        raise OptionError(
            "--jobs and --cluster contradict each other: a cluster has its own workers"
        )
    if found is not None and not 1 <= found <= JOBS_MAX:
        raise OptionError(f"--jobs must be from 1 to {JOBS_MAX}, not {found:,}")
    return found or cores(), address


def make_runs(
    title: str,
    workers: tuple[int, str | None],
    work: "Callable[[Crew, Bar | None], None]",
    *,
    is_wanted: bool,
) -> bool:
    """Make the runs with a bar; returns whether Ctrl-C did not end them.

    Args:
        title: of the bar.
        workers: see `read_workers`.
        work: is given those who make the runs, and the bar, which is None if nobody looks at one.
        is_wanted: a bar may be shown.
    """
    from lab.cli import render
    from lab.explore import spread

    jobs, cluster = workers
    with render.ProgressBar(title, is_wanted=is_wanted) as bar:
        try:
            with ended_as_by_ctrl_c(), spread.workers(jobs=jobs, cluster=cluster) as crew:
                work(crew, bar)
        except KeyboardInterrupt:
            return False
    return True


def print_found(
    found: object, page: "Callable[[int], Iterable[RenderableType]]", display: Display
) -> None:
    """Print what was found, as JSON or as a page for a width."""
    if display.json:
        from msgspec import json

        print_result(json.format(json.encode(found), indent=2) + b"\n")
        return
    from lab.cli import render

    width = render.width_of_output()
    print_result(render.to_text(page(width), width=width, is_plain=display.no_color))
