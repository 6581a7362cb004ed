"""The price of a task of `lab search`: here, in processes of this machine, and on a Dask cluster.

    python -m benchmarks.tasks                # two workers of each kind; a minute
    python -m benchmarks.tasks --tasks 5000

A task that does nothing is spread by the code that spreads real ones. Processor time is told beside
wall time: on a machine that is busy with other things only the former means anything. The cluster
is a local one, so its scheduler works in this process; no network is in it.

Not here: the tasks (`lab.explore.search`), and how they are spread (`lab.explore.spread`).
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lab.explore.search import Batch
from lab.explore.spread import Crew, spread, workers
from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import SMALL, judged, with_seed
from lab.wiring.spec import make_spec

WORKERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one task that does nothing; in milliseconds.

    Attributes:
        start: until the first answer, once.
        wall: by the clock.
        caller: processor time of this process: of the caller, and of Dask's scheduler.
    """

    start: float
    wall: float
    caller: float

    def fed(self, task: float) -> int:
        """So many workers can one caller keep at work with tasks of that length."""
        return int(task / self.caller)


def pays_from(task: float, price: Price, count: int) -> int | None:
    """The number of tasks from which on `count` workers end sooner than the caller alone would.

    None: never, because handing a task over takes longer than doing it.
    """
    gain = task - max(task / count, price.caller)
    return int(price.start / gain) + 1 if gain > 0 else None


def nothing(batch: Batch) -> int:
    """A task of which only the price is left."""
    return len(batch.seeds)


def _batches(count: int) -> Iterator[Batch]:
    options = RunOptions(scenario="happy-path", orders=10)
    return (Batch(options=options, seeds=tuple(range(n, n + 10))) for n in range(count))


def price_of(crew: Crew, tasks: int) -> Price:
    """Spread tasks that do nothing, and take the time."""
    begin = time.perf_counter()
    for _ in spread(crew, nothing, _batches(crew.count)):
        pass
    ready = time.perf_counter()
    own = time.process_time()
    for _ in spread(crew, nothing, _batches(tasks)):
        pass
    each = 1e3 / tasks
    return Price(
        start=(ready - begin) * 1e3,
        wall=(time.perf_counter() - ready) * each,
        caller=(time.process_time() - own) * each,
    )


@contextmanager
def on_dask() -> Iterator[Crew]:
    """A crew on a local cluster of processes."""
    from distributed import LocalCluster  # noqa: PLC0415 - an extra, and slow to import

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        workers(jobs=1, cluster=cluster.scheduler_address) as crew,
    ):
        yield crew


def run_ms(orders: int, seeds: int) -> float:
    """Processor time of one run, its checks included, over some seeds."""
    options = RunOptions(
        scenario="happy-path", orders=orders, settings=SMALL if orders == 1 else {}
    )
    spec = make_spec(options)
    judged(spec)
    begin = time.process_time()
    for seed in range(2, seeds + 2):
        judged(with_seed(spec, seed))
    return (time.process_time() - begin) * 1e3 / seeds


def main() -> None:
    """Print the prices, the runs, and what follows from both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=2_000, help="that do nothing [2000]")
    given = parser.parse_args()
    write = sys.stdout.write
    prices = {}
    with workers(jobs=1) as crew:
        prices["here"] = price_of(crew, given.tasks)
    with workers(jobs=WORKERS) as crew:
        prices["--jobs 2"] = price_of(crew, given.tasks)
    with on_dask() as crew:
        prices["--cluster, 2"] = price_of(crew, given.tasks)
    write("a task that does nothing, ms    wall   processor of the caller   first answer, once\n")
    for name, one in prices.items():
        write(f"{name:26} {one.wall:9.3f} {one.caller:25.3f} {one.start:20.0f}\n")
    crews = (prices["--jobs 2"], prices["--cluster, 2"])
    write("\norders   a run, ms   10 runs, ms   --jobs: pays from, feeds   --cluster\n")
    for orders, seeds in ((1, 200), (10, 50), (100, 8)):
        run = run_ms(orders, seeds)
        cells = [f"{pays_from(10 * run, one, WORKERS)}, {one.fed(10 * run):,}" for one in crews]
        write(f"{orders:6} {run:11.1f} {10 * run:13.0f} {cells[0]:>26} {cells[1]:>11}\n")


if __name__ == "__main__":
    main()
