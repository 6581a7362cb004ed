"""The flags of commands that make many runs: who makes them, and when they end.

Not here: the commands, and the workers (`lab.explore.spread`).
"""

from typing import Annotated, Final

import typer

from lab.cli.flag_values import FlagValues, OptionError

JOBS_MAX: Final = 256

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
