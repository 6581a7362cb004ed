"""The loops of the comparison, and the process in which one of them runs one program.

`python -m benchmarks.peers.loop_peers LOOP PROGRAM EVENTS` prints events a second of processor
time; `... LOOP TRACE NOISE` a digest of the order of things, on a heap with so much noise.

Not here: what the programs do (`loop_programs.py`), rounds (`loop_rounds.py`).
"""

import asyncio
import gc
import importlib
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.peers.loop_programs import PROGRAMS, TRACES

SEED: Final = 7
_STEPS: Final = 10**9


def _lab(order: Any) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run(main: Coroutine[Any, Any, Any]) -> Any:
        scheduler = importlib.import_module("lab.runtime.virtual_loop").Scheduler
        with scheduler(seed=SEED, order=order) as world:
            return world.run(main)

    return run


def _simloop(main: Coroutine[Any, Any, Any]) -> Any:
    loop = importlib.import_module("simloop").SimLoop(seed=SEED)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def _detangle(seed: int | None) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run(main: Coroutine[Any, Any, Any]) -> Any:
        return importlib.import_module("detangle").run(main, seed=seed, max_steps=_STEPS)

    return run


def _looptime(main: Coroutine[Any, Any, Any]) -> Any:
    loop = importlib.import_module("looptime").patch_event_loop(asyncio.SelectorEventLoop())
    loop.setup_looptime(start=0)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A loop in virtual time with one order of ready tasks.

    Attributes:
        name: for `--only` and in the table.
        packages: distributions that it needs beside the lab, and whose versions are told.
        call: how the program is run.
        order: of tasks that are ready at the same time.
        link: where its documentation is.
        run: runs a coroutine on a loop of its own.
    """

    name: str
    packages: tuple[str, ...]
    call: str
    order: str
    link: str
    run: Callable[[Coroutine[Any, Any, Any]], Any]


_DETANGLE: Final = "https://github.com/louistarwars/Detangle"

LOOPS: Final = (
    Loop(
        name="lab fifo",
        packages=(),
        call="`Scheduler().run(main)`",
        order="first in, first out",
        link="adr/0001-a-loop-of-our-own-in-virtual-time.md",
        run=_lab("fifo"),
    ),
    Loop(
        name="lab shuffled",
        packages=(),
        call="`Scheduler(seed=7, order='shuffle').run(main)`",
        order="by the seed",
        link="adr/0001-a-loop-of-our-own-in-virtual-time.md",
        run=_lab("shuffle"),
    ),
    Loop(
        name="simloop",
        packages=("simloop",),
        call="`SimLoop(seed=7).run_until_complete(main)`",
        order="by the seed; it keeps a trace of every step",
        link="https://github.com/dhruvl/simloop",
        run=_simloop,
    ),
    Loop(
        name="detangle fifo",
        packages=("detangle",),
        call="`detangle.run(main)`",
        order="first in, first out; it keeps every decision",
        link=_DETANGLE,
        run=_detangle(None),
    ),
    Loop(
        name="detangle seeded",
        packages=("detangle",),
        call="`detangle.run(main, seed=7)`",
        order="by the seed; it keeps every decision",
        link=_DETANGLE,
        run=_detangle(SEED),
    ),
    Loop(
        name="looptime",
        packages=("looptime",),
        call="`looptime.patch_event_loop(asyncio.SelectorEventLoop())`",
        order="that of asyncio; a real selector is asked between two steps of the clock",
        link="https://github.com/nolar/looptime",
        run=_looptime,
    ),
)


def main(name: str, program: str, number: str) -> None:
    """Run one program on one loop, and print what it says."""
    run = next(one.run for one in LOOPS if one.name == name)
    if program in TRACES:
        # Objects of sizes that differ from process to process: addresses do, too.
        noise = [bytearray(os.urandom(1)[0] * 17) for _ in range(int(number))]
        print(run(TRACES[program]()), len(noise))
        return
    # The first call pays for imports and caches.
    run(PROGRAMS[program](2_000))
    gc.collect()
    print(run(PROGRAMS[program](int(number))).per_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
