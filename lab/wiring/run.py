"""`lab.run`: one run from its options to its result, files included.

Everything that can be refused is refused before anything is run or written. Not here: the options
(`lab.scenarios.run_options`), the driver of each world (`worlds`), the words of the result
(`outcome`).
"""

import asyncio
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from lab.checks.verdict import parse_goal
from lab.history.recorder import Sink
from lab.report.result import Result, encode_result
from lab.report.run_folder import RunFolder
from lab.runner import Progress
from lab.scenarios.run_options import HistoryKept
from lab.scenarios.scenario import Scenario
from lab.scenarios.workload import Workload
from lab.wiring.given import options_given
from lab.wiring.outcome import Ran, beside, make_result
from lab.wiring.planned import planned_run
from lab.wiring.spec import RunSpec, make_spec, without_faults
from lab.wiring.workload import make_workload
from lab.wiring.worlds.simulated_run import simulate

_NO_OPTIONS: Final = ("watch", "on_progress")


def run(
    scenario: str | Scenario,
    *,
    real: bool = False,
    bus: str = "memory",
    store: str = "memory",
    dedupe: str = "memory",
    wall_clock: bool = False,
    keep: bool = False,
    seed: int = 1,
    orders: int | None = None,
    rate: float | None = None,
    orders_from: Path | str | None = None,
    speed: float = 1.0,
    faults: str | Sequence[str] = (),
    off: str | Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    only: str | Sequence[str] = (),
    scenarios: Path | str | Sequence[Path | str] = (),
    history: HistoryKept = "witnesses",
    out: Path | str | None = None,
    beyond_contract: bool = False,
    watch: Sink | None = None,
    on_progress: Progress | None = None,
) -> Result:
    """Run a scenario, in the simulated world if nothing else is asked for, and judge its promises.

    It blocks until the run is over. Where an event loop runs (a notebook, an async test) it blocks
    that loop too; `await asyncio.to_thread(lab.run, ...)` does not.

    Args:
        scenario: name of one, or one of your own.
        real: in processes of the operating system, on Kafka, PostgreSQL and Redis.
        bus: `memory` or `kafka`; anything real runs on the wall clock.
        store: `memory` or `postgres`.
        dedupe: `memory` or `redis`.
        wall_clock: on the wall clock, also if everything is in memory.
        keep: leave topics, schema and keys of the run on the servers.
        seed: root of every coin, id and latency; the same seed gives the same run.
        orders: how many orders; default: as many as in the scenario.
        rate: orders a second of virtual time.
        orders_from: `sample`, or an NDJSON or CSV file of orders, gzip too; `-` is standard input.
        speed: divides the recorded times of `orders_from`.
        faults: more faults, beside those of the scenario: one, or a sequence of them.
        off: patterns to switch off: a sequence, or a string with commas.
        settings: policies that differ, by name, such as `{"retry.attempts_max": 3}`.
        only: promises to judge, given as `off` is; default: all.
        scenarios: a file with more scenarios, or a sequence of files.
        history: `all` keeps every entry of a long run on disk.
        out: folder for the run's files; None: nothing is written.
        beyond_contract: allow faults and policies that the design does not promise to survive;
            broken promises are expected then, and the verdict is UNKNOWN.
        watch: takes every entry of the run, in order.
        on_progress: called now and then with (orders placed, orders in all, phase).

    Raises:
        ScenarioError, SettingError, FaultError, GoalError, OrdersFileError, RunFolderError: the
            options cannot be used; nothing was written.
        EnvironmentNotReady: a real server is not there, or not fit for use.
        CheckError, SimulationError: a mistake of the lab's own.
    """
    given = {name: value for name, value in locals().items() if name not in _NO_OPTIONS}
    return _outside_of_a_loop(
        partial(
            run_spec,
            replace(make_spec(options_given(given)), watch=watch),
            on_progress=on_progress,
        )
    )


def _outside_of_a_loop(make: Callable[[], Result]) -> Result:
    """Run it here, or where an event loop runs in a thread: a run has a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return make()
    with ThreadPoolExecutor(1, thread_name_prefix="lab-run") as thread:
        return thread.submit(make).result()


def run_spec(spec: RunSpec, *, on_progress: Progress | None = None) -> Result:
    """Run it and write its files; see `run`."""
    goals = tuple(parse_goal(text) for text in spec.scenario.goals)
    with closing(make_workload(spec)) as workload, _folder(spec) as folder:
        ran = _run(spec, workload, folder, on_progress)
        result = make_result(ran, goals)
        if spec.scenario.compares and not result.partial:
            result = beside(result, run_spec(without_faults(spec), on_progress=on_progress))
        return result if folder is None else _kept(result, ran, folder)


def _kept(result: Result, ran: Ran, folder: RunFolder) -> Result:
    """Write the files of a run that is over; the result says where they are, or why nowhere."""
    kept = msgspec.structs.replace(result, run_dir=str(folder.path))
    if ran.spec.explicit is not None:
        # Coins would strike more, or others: the plan of this run is all that reproduces it.
        kept = msgspec.structs.replace(
            kept, reproduce=f"lab replay {shlex.quote(str(folder.path))}"
        )
    folder.write("plan.json", ran.plan.to_json(planned_run(ran.spec, result)))
    folder.write("result.json", encode_result(kept))
    error = folder.commit()
    return msgspec.structs.replace(result, notes=(*result.notes, error)) if error else kept


def _run(
    spec: RunSpec, workload: Workload, folder: RunFolder | None, on_progress: Progress | None
) -> Ran:
    """Run it in its world; the modules that only few runs need are imported by those."""
    if not spec.world.is_live:
        return simulate(spec, workload, folder=folder, on_progress=on_progress)
    if not spec.world.is_real:
        from lab.wiring.worlds.wall_clock import run_live  # noqa: PLC0415 - see above

        return run_live(spec, workload, folder=folder, on_progress=on_progress)
    from lab.wiring.worlds.real_run import run_for_real  # noqa: PLC0415 - see above

    return run_for_real(spec, workload, folder=folder, on_progress=on_progress)


@contextmanager
def _folder(spec: RunSpec) -> Iterator[RunFolder | None]:
    """The run's folder; nothing of it is left if the run fails.

    Raises:
        RunFolderError: it cannot be made.
    """
    out = spec.options.out
    if out is None:
        yield None
        return
    folder = RunFolder(out, spec.scenario.name, spec.seed, datetime.now(UTC))  # noqa: TID251 - names the folder, and nothing else
    try:
        yield folder
    finally:
        folder.discard()
