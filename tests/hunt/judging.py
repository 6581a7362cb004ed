"""The parent: forks a child for each mutant, and makes a fate of what the child told.

Not here: the inside of a child (`in_child.py`), and known survivors (`equivalents.py`).
"""

import gc
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tests.hunt import in_child
from tests.hunt.mutants import Mutant
from tests.hunt.runs import Run
from tests.hunt.targets import GROUPS, LAB, TOP

KILLED: Final = "killed"
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
SURVIVED: Final = "survived"
UNREACHED: Final = "unreached"
_IMPORT: Final = "import"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one mutant.

    Attributes:
        where: the run that ended it, such as `duplicates seed 2`.
        by: the promises that did not hold, or the error.
        runs: how many runs came by its line and were made.
        same: of a survivor: whether every history stayed the same.
        lab: fingerprint of the lab that was changed.
    """

    key: str
    status: str
    where: str = ""
    by: tuple[str, ...] = ()
    witness: str = ""
    runs: int = 0
    same: bool = False
    lab: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The lab as it is.

    Attributes:
        fingerprint: of its source.
        digests: one a run.
        lines: by file and line, the numbers of the runs that reach it, and `import`.
    """

    fingerprint: str
    digests: tuple[str, ...]
    lines: Mapping[str, Mapping[str, list[str]]]

    def runs_by(self, mutant: Mutant) -> list[int]:
        """The runs that come by what a mutant changes, in order."""
        lines = self.lines.get(mutant.file, {})
        found: set[str] = set()
        for line in range(mutant.line, mutant.last + 1):
            found.update(lines.get(str(line), ()))
        if _IMPORT in found and not found - {_IMPORT}:
            return list(range(len(self.digests)))
        return [number for number in range(len(self.digests)) if str(number) in found]


class BrokenBaseline(Exception):
    """The lab as it is breaks a promise in a run of the hunt."""


def fingerprint(runs: Sequence[Run]) -> str:
    """Of the source of the lab, its scenarios, and the runs."""
    digest = hashlib.sha256(repr(runs).encode())
    for path in [*sorted(LAB.rglob("*.py")), TOP / "scenarios.toml"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def take_baseline(runs: Sequence[Run]) -> Baseline:
    """Run everything once, unchanged.

    Raises:
        BrokenBaseline: a promise does not hold even so, or a run came to no end.
    """
    patterns = [each for group in GROUPS.values() for each in group]
    told = _alone(lambda say: in_child.look(patterns, runs, say))
    if not told:
        raise BrokenBaseline("the lab as it is does not come to the end of these runs")
    for run, found in zip(runs, told[0]["runs"], strict=True):
        if found["broken"]:
            raise BrokenBaseline(f"{run}: {found['broken']}")
    digests = tuple(found["digest"] for found in told[0]["runs"])
    return Baseline(fingerprint(runs), digests, told[0]["lines"])


def import_vendors() -> None:
    """Import all that the lab needs and that is not its own, so that no child has to."""
    for name in _alone(in_child.vendor_modules)[0]["modules"]:
        try:
            importlib.import_module(name)
        except ImportError:
            # A module that exists only while another one is imported.
            continue
    gc.collect()
    gc.freeze()


def judge_all(
    mutants: Sequence[Mutant],
    runs: Sequence[Run],
    baseline: Baseline,
    *,
    jobs: int,
    goes_on: Callable[[], bool],
) -> Iterator[Fate]:
    """The fate of each mutant, as they end; no new one once `goes_on` says so."""
    waiting = iter(mutants)
    under_way: dict[int, tuple[Mutant, list[int], int]] = {}
    while True:
        while len(under_way) < jobs and goes_on():
            mutant = next(waiting, None)
            if mutant is None:
                break
            numbers = baseline.runs_by(mutant)
            if not numbers:
                yield Fate(mutant.key, UNREACHED)
                continue
            child, pipe = _fork(_judging(mutant, [runs[number] for number in numbers]))
            under_way[child] = (mutant, numbers, pipe)
        if not under_way:
            return
        child, status = os.wait()
        mutant, numbers, pipe = under_way.pop(child)
        digests = [baseline.digests[number] for number in numbers]
        yield fate_of(mutant.key, _read(pipe), digests, was_stopped=status != 0)


def fate_of(
    key: str, told: Sequence[Mapping[str, object]], digests: Sequence[str], *, was_stopped: bool
) -> Fate:
    """What the lines of a child say about its mutant."""
    where, made, same = "", 0, True
    for line in told:
        match line:
            case {"run": str(run)}:
                where = run
            case {"error": str(error)}:
                return Fate(key, ERROR, where, (error,), runs=made)
            case {"broken": dict(broken), "digest": str(digest)}:
                same = same and digest == digests[made]
                made += 1
                if broken:
                    witness = str(next(iter(broken.values())))
                    return Fate(key, KILLED, where, tuple(broken), witness, made)
            case _:
                raise AssertionError(f"a child told {line}")
    if was_stopped:
        return Fate(key, TIMEOUT, where, runs=made)
    return Fate(key, SURVIVED, runs=made, same=same)


def to_json(fate: Fate) -> dict[str, object]:
    """For a file."""
    return asdict(fate)


def from_json(told: Mapping[str, Any]) -> Fate:
    """From a file."""
    return Fate(**{**told, "by": tuple(told["by"])})


def _judging(mutant: Mutant, runs: Sequence[Run]) -> Callable[[in_child.Say], None]:
    return lambda say: in_child.judge(mutant.file, mutant.tree(), runs, say)


def _alone(work: Callable[[in_child.Say], None]) -> list[dict[str, Any]]:
    child, pipe = _fork(work)
    told = _read(pipe)
    os.waitpid(child, 0)
    return told


def _fork(work: Callable[[in_child.Say], None]) -> tuple[int, int]:
    """A child that does it; its id, and the end of the pipe on which it tells."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    status = 1
    try:
        os.close(reading)
        work(lambda told: _write(writing, in_child.line_of(told)))
        status = 0
    finally:
        os._exit(status)


def _write(pipe: int, line: bytes) -> None:
    while line:
        line = line[os.write(pipe, line) :]


def _read(pipe: int) -> list[dict[str, Any]]:
    with os.fdopen(pipe, "rb") as told:
        return [json.loads(line) for line in told if line.endswith(b"\n")]
