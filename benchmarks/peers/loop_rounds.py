"""A round of loops: each program on each loop, in a process of its own; and whether runs repeat.

Not here: the loops (`loop_peers.py`), the programs (`loop_programs.py`).
"""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.peers.loop_peers import Loop
from benchmarks.peers.loop_programs import PROGRAMS, TRACES
from benchmarks.peers.running import MeasureError
from lab.settings import environment_of_a_program

EVENTS: Final = 20_000
RUNS: Final = 4
"""As often a trace is made, each time with another hash seed and another heap."""

_TIMEOUT_S: Final = 120

OnProgress = Callable[[str], None]


def take_round(
    loops: Sequence[Loop], number: int, on_progress: OnProgress
) -> dict[str, Mapping[str, float]]:
    """Events a second of processor time, by loop and program; another loop is first in each round.

    Raises:
        MeasureError: a loop did not run a program.
    """
    turn = number % len(loops)
    found: dict[str, dict[str, float]] = {loop.name: {} for loop in loops}
    for program in PROGRAMS:
        on_progress(f"round {number + 1}, {program} on {len(loops)} loops")
        for loop in (*loops[turn:], *loops[:turn]):
            found[loop.name][program] = float(_said(loop, program, EVENTS))
    return dict(found)


def repeat_traces(loop: Loop) -> dict[str, int]:
    """How many different orders `RUNS` runs of each trace had: one, if the seed decides.

    Raises:
        MeasureError: the loop did not run one.
    """
    return {
        name: len(
            {
                _said(loop, name, 1_000 * run + 1, hash_seed=str(run)).split()[0]
                for run in range(RUNS)
            }
        )
        for name in TRACES
    }


def _said(loop: Loop, program: str, number: int, *, hash_seed: str = "random") -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peers.loop_peers", loop.name, program, str(number)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=environment_of_a_program({"PYTHONHASHSEED": hash_seed}),
        )
    except subprocess.CalledProcessError as error:
        raise MeasureError(f"{loop.name} did not run {program}:\n{error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise MeasureError(f"{loop.name} ran {program} for more than {_TIMEOUT_S} s") from error
    return done.stdout.strip()
