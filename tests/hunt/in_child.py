"""The inside of a child: the lab, imported with one module changed, runs and tells what it saw.

A child imports the lab by itself, so that each mutant meets a fresh house. It tells one line of
JSON for every run, and is killed by its timer if a run does not end.

Not here: the parent (`judging.py`).
"""

import ast
import builtins
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import count, islice
from typing import TYPE_CHECKING, Final, TypeVar

from tests.hunt.changes import FIRST, FRESH
from tests.hunt.runs import Run
from tests.hunt.targets import LAB, TOP, module_of

if TYPE_CHECKING:
    from types import CodeType

T = TypeVar("T")
Say = Callable[[Mapping[str, object]], None]

RUN_S_MAX: Final = 20
_STANDS_STILL: Final = 30
_MEMORY_BYTES_MAX: Final = 2 << 30
_IMPORTING: Final = "import"

_numbers = count(1)


def hunt_fresh(value: T) -> T:
    """Another key each time."""
    if isinstance(value, str):
        return f"{value}~{next(_numbers)}"  # type: ignore[return-value]  # a str, as it came
    if isinstance(value, bytes):
        return b"%s~%d" % (value, next(_numbers))  # type: ignore[return-value]  # bytes, as they came
    return value


def hunt_first(values: Iterable[T]) -> Iterator[T]:
    """The first element alone."""
    return islice(values, 1)


class _OneChanged(SourceFileLoader):
    """Loads the changed tree in place of the file."""

    def __init__(self, module: str, file: str, tree: ast.Module) -> None:
        super().__init__(module, file)
        self._tree = tree

    def get_code(self, fullname: str) -> "CodeType | None":
        return compile(self._tree, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder:
    """Finds the one module that is changed."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self._module, self._file, self._tree = module_of(file), str(LAB / file), tree

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        if name != self._module:
            return None
        loader = _OneChanged(name, self._file, self._tree)
        return spec_from_file_location(name, self._file, loader=loader)


def judge(file: str, tree: ast.Module | None, runs: Sequence[Run], say: Say) -> None:
    """Run one after the other until the first FAIL; `tree` None leaves the lab as it is."""
    _confine()
    if tree is not None:
        sys.meta_path.insert(0, _Finder(file, tree))
    vars(builtins).update({FRESH: hunt_fresh, FIRST: hunt_first})
    say({"run": _IMPORTING})
    try:
        run_one = _lab()
    except Exception as error:  # noqa: BLE001 - whatever a mutant does to an import is its fate
        say(_raised(error))
        return
    for run in runs:
        say({"run": str(run)})
        _allow(RUN_S_MAX)
        try:
            found = run_one(run)
        except Exception as error:  # noqa: BLE001 - whatever a mutant raises is its fate
            say(_raised(error))
            return
        say(found)
        if found["broken"]:
            return


def look(folders: Sequence[str], runs: Sequence[Run], say: Say) -> None:
    """The lab as it is: verdict, digest and lines reached of every run, no matter what it says."""
    from coverage import Coverage

    _confine()
    seen = Coverage(
        data_file=None, include=[f"{LAB}/{each}" for each in folders], config_file=False
    )
    seen.start()
    seen.switch_context(_IMPORTING)
    run_one = _lab()
    found = []
    for number, run in enumerate(runs):
        _allow(RUN_S_MAX)
        seen.switch_context(str(number))
        found.append(run_one(run))
    seen.stop()
    _allow(0)
    data = seen.get_data()
    lines = {
        os.path.relpath(file, LAB): {
            str(line): contexts for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    say({"runs": found, "lines": lines})


def vendor_modules(say: Say) -> None:
    """The modules that the lab needs and that are not its own: a parent imports them beforehand."""
    _lab()
    ours = ("lab", "tests", "__main__", "coverage")
    say({"modules": [name for name in sys.modules if name.partition(".")[0] not in ours]})


def _lab() -> Callable[[Run], dict[str, object]]:
    """Import it; what runs a scenario without a folder, without goals and without its calm twin."""
    from lab.scenarios.loader import find_scenario, load_catalogue
    from lab.scenarios.run_options import RunOptions
    from lab.wiring.outcome import make_result
    from lab.wiring.spec import make_spec
    from lab.wiring.workload import make_workload
    from lab.wiring.worlds.simulated_run import simulate

    catalogue = load_catalogue()

    def run_one(run: Run) -> dict[str, object]:
        scenario = find_scenario(catalogue, run.scenario)
        spec = make_spec(RunOptions(scenario=scenario, seed=run.seed, orders=run.orders))
        with closing(make_workload(spec)) as workload:
            result = make_result(simulate(spec, workload), ())
        return {
            "digest": result.digest,
            "broken": {one.name: one.witness for one in result.checks if one.verdict == "FAIL"},
        }

    return run_one


def _confine() -> None:
    """No words on the terminal, not more than its share of memory, no endless run."""
    os.chdir(TOP)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _allow(RUN_S_MAX)


def _allow(seconds: int) -> None:
    """So long may the next run take of a processor, or stand still; 0: as long as it likes.

    A busy machine makes a run slow and not endless, and is no fate of a mutant.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(seconds * _STANDS_STILL)


def _raised(error: Exception) -> dict[str, object]:
    return {"error": f"{type(error).__name__}: {error}"[:300]}


def line_of(told: Mapping[str, object]) -> bytes:
    """One line of what a child says."""
    return json.dumps(told).encode() + b"\n"
