"""Whether one seed is one run on this machine: in any process, hash seed, heap and Python.

An order that depends on addresses or on hashing cannot be seen from within one process, so each run
here is a process of its own. Not here: the page that shows the answer (`doctor`).
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import __version__

RUN_S_MAX: Final = 120
NEWEST_MINOR: Final = 30
"""Of the Pythons 3.x that are looked for on PATH."""

# A crashing run in shuffled order: it has more ways to differ than a calm one.
_RUN_SCRIPT: Final = """
import sys
noise = [object() for _ in range(int(sys.argv[1]))]
del noise[::3]
from lab import __version__, run
result = run("crashes", seed=7, orders=40, settings={"run.order": "shuffle"})
print(__version__, result.digest)
"""
# With every library of a run: the package alone imports anywhere.
_VERSION_SCRIPT: Final = "from lab import __version__, run; print(__version__)"
_VARIATIONS: Final = ((0, 0), (1, 50_000), (2, 123_457))
"""Hash seeds, and objects made before the run so that everything lies elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """The digests of the runs.

    Attributes:
        digests: by the process that gave it; "" if its run failed.
        left_out: Pythons on PATH that could not take part, with the reason.
    """

    digests: dict[str, str]
    left_out: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every run ended, and all alike."""
        return len(set(self.digests.values())) == 1 and "" not in self.digests.values()


def compare_runs() -> RunComparison:
    """Run one small seed in several processes; takes a few seconds."""
    digests: dict[str, str] = {}
    left_out: list[str] = []
    here = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="lab-doctor-") as folder:
        for hash_seed, noise in _VARIATIONS:
            own = f"this Python, hash seed {hash_seed}"
            # This very package, however it was found: a checkout may not be installed at all.
            digests[own] = _digest(sys.executable, hash_seed, noise, folder, f"PYTHONPATH={here}")
        for name, path in _other_pythons():
            version = _output_of([path, "-c", _VERSION_SCRIPT], folder)
            if version is None:
                left_out.append(f"{name} has no lab")
            elif version != __version__:
                left_out.append(f"{name} has another one, {version}")
            else:
                digests[name] = _digest(path, 3, 77, folder)
    return RunComparison(digests=digests, left_out=tuple(left_out))


def _other_pythons() -> Iterator[tuple[str, str]]:
    for minor in range(11, NEWEST_MINOR + 1):
        name = f"python3.{minor}"
        path = shutil.which(name)
        if path is not None and path != sys.executable:
            yield name, path


def _digest(python: str, hash_seed: int, noise: int, folder: str, *variables: str) -> str:
    """The digest of a run, "" if it failed."""
    changed = ["env", f"PYTHONHASHSEED={hash_seed}", *variables]
    answer = _output_of([*changed, python, "-c", _RUN_SCRIPT, str(noise)], folder)
    return "" if answer is None else answer.partition(" ")[2]


def _output_of(command: Sequence[str], folder: str) -> str | None:
    """The output of a command, run away from any checkout; None if it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter with our own arguments
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=RUN_S_MAX,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
