"""How a process of a real run is started: by a fork server, or as a program of its own.

Both give the same process: a session of its own, an input that ends with its supervisor, a line of
output when it is ready, a log, and the lock of the run. Not here: its lives (`real_member`).
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from lab.runtime.fork_server import IS_SUPPORTED, ForkServer
from lab.runtime.real_loop import UVLOOP, is_installed
from lab.wiring.worlds.assignment import Assignment, read_assignment
from lab.wiring.worlds.real_process import ProcessEnded, run_process
from lab.wiring.worlds.run_lock import HeldLock

LOG: Final = "logs.ndjson"
"""The file in the folder of a run into which every process of it complains."""

_PRELOADED: Final = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore",
    "uvicorn.lifespan.off",
)
"""What the libraries import when they are first used, which is in every process."""

_COMMANDS: Final = {"api": "serve", "relay": "relay", "providers": "providers"}


class Started(Protocol):
    """A process that was started; see `asyncio.subprocess.Process`."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Its standard output."""
        ...

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        ...

    async def wait(self) -> int:
        """Wait until it has ended."""
        ...

    def send_signal(self, signal: int) -> None:
        """Signal it."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


class Start(Protocol):
    """Starts the process that an assignment describes."""

    async def __call__(self, assignment: Assignment, path: Path, log: int, /) -> Started:
        """The process.

        Args:
            assignment: of the process.
            path: the file that holds it.
            log: the open file into which it complains.
        """
        ...


@asynccontextmanager
async def starting(held: HeldLock) -> AsyncIterator[Start]:
    """A way to start processes; they are all to end within the block.

    Args:
        held: the lock of the run, which every process inherits.
    """
    if not IS_SUPPORTED:
        yield spawning(held)
        return
    with (held.folder / LOG).open("ab") as log:
        forks = ForkServer(
            f"{__name__}:{become.__name__}",
            stderr=log.fileno(),
            pass_fds=(held.handle,),
            preload=(*_PRELOADED, UVLOOP) if is_installed() else _PRELOADED,
        )

    async def fork(_: Assignment, path: Path, log: int) -> Started:
        return await forks.start(str(path), stderr=log)

    async with forks:
        yield fork


def become(path: str) -> int:
    """Be the process that the assignment at `path` describes; its exit code."""
    assignment = read_assignment(Path(path))
    # In lists of processes a fork has the name of what it was forked from.
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"lab {assignment.member}")
    try:
        run_process(assignment)
    except ProcessEnded as ended:
        return ended.exit_code
    return 0


def spawning(held: HeldLock) -> Start:
    """Start each process as a program of its own."""

    async def spawn(assignment: Assignment, path: Path, log: int) -> Started:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lab", *_command(assignment), "--assignment", str(path)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            pass_fds=(held.handle,),
            # Ctrl-C is for the supervisor, who ends them all in order.
            start_new_session=True,
        )

    return spawn


def _command(assignment: Assignment) -> tuple[str, ...]:
    if assignment.role == "consumer":
        return ("work", assignment.group)
    return (_COMMANDS[assignment.role],)
