"""The supervisor of a real run: starts every process, strikes it, and starts it again.

Each life gets an assignment and a journal of its own. Standard error of each goes into
one file. Not here: when somebody is struck (`lab.faults`), and the rest of a run (`real.py`).
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lab.domain.errors import EnvironmentNotReady
from lab.faults.clock import Step
from lab.history.entries import FIELDS
from lab.history.journal import read_journal
from lab.runtime.errors import SimulationError
from lab.wiring.process.unexpected import ends_process
from lab.wiring.worlds.assignment import Assignment, write_assignment
from lab.wiring.worlds.real_process import NOT_READY
from lab.wiring.worlds.real_start import LOG, Start, Started

READY_S: Final = 60
"""A process that is not ready after so long never will be; a busy machine starts eight at once."""

_LINES_SHOWN: Final = 4
_LOG_SHOWN: Final = 1_500
_EXPECTED: Final = (0, -signal.SIGTERM, -signal.SIGKILL, NOT_READY)
"""The exit codes of a process in the middle of a run: after SIGTERM, killed, without a server."""


class RealMember:
    """One process of the lab through all its lives.

    Args:
        first: the assignment of its first life; those of the others are made from it.
        folder: takes assignments, journals and the log.
        start: starts a life.
        note_life: called with `start`, `kill`, `exited`, `pause` and `resume`, and the name of the
            life.
        restart_us: a process that has ended is started again after so long.
        steps_of: `steps_of(member, group)`: the error of the clock of a life that begins now.
        on_error: called when it has ended as it never should: the run is over.

    Attributes:
        journals: of all its lives, in order.
        url: where it answers, "" if it does not.
        error: it has ended as it never should.
    """

    def __init__(
        self,
        first: Assignment,
        *,
        folder: Path,
        start: Start,
        note_life: Callable[[str, str], None],
        restart_us: int,
        steps_of: Callable[[str, str], tuple[Step, ...]],
        on_error: Callable[[], object],
    ) -> None:
        self.name = first.member
        self.group = first.group
        self.journals: list[Path] = []
        self.url = ""
        self.error: SimulationError | EnvironmentNotReady | None = None
        self.is_healed = False
        self._next = first
        self._folder, self._start = folder, start
        self._note_life = note_life
        self._restart_s = restart_us / 1e6
        self._steps_of = steps_of
        self._on_error = on_error
        self.paused_until_us = 0
        self._waking: asyncio.TimerHandle | None = None
        self._is_wanted = True
        self._process: Started | None = None
        self._life = ""
        self._watching: asyncio.Task[None] | None = None
        self._is_killed = False
        # Before it is ready a signal finds no handler.
        self._is_ready = False

    @property
    def is_alive(self) -> bool:
        """Whether a life of it runs and is ready."""
        process = self._process
        return self._is_ready and process is not None and process.returncode is None

    async def start(self) -> None:
        """Begin its first life; returns when it is ready.

        Raises:
            EnvironmentNotReady: it says that a server is not there.
            SimulationError: it ended, or said nothing for a minute.
        """
        await self._begin()
        assert self._process is not None
        if self._process.returncode is not None:
            raise self._failure(self._process.returncode)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def crash(self) -> None:
        """SIGKILL."""
        if self._signal(signal.SIGKILL):
            self._say_killed()

    def term(self) -> None:
        """SIGTERM. The process notes it itself."""
        self._signal(signal.SIGTERM)

    def pause(self, for_us: int) -> None:
        """SIGSTOP for so long, or longer if it is to stand still longer anyway."""
        until_us = time.monotonic_ns() // 1000 + for_us
        if until_us <= self.paused_until_us or not self._signal(signal.SIGSTOP):
            return
        if self._waking is not None:
            self._waking.cancel()
        else:
            self._note_life(self._life, "pause")
        self.paused_until_us = until_us
        self._waking = asyncio.get_running_loop().call_later(for_us / 1e6, self.resume)

    def resume(self) -> None:
        """SIGCONT."""
        if self._waking is None:
            return
        self._awake()
        if self._signal(signal.SIGCONT):
            self._note_life(self._life, "resume")

    def _awake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._waking, self.paused_until_us = None, 0

    def heal(self) -> None:
        """The faults of the run have ended."""
        self.is_healed = True
        self.resume()
        if self._is_ready:
            self._signal(signal.SIGUSR1)

    def retire(self) -> None:
        """Do not start it again."""
        self._is_wanted = False

    async def end(self, grace_us: int) -> None:
        """End it: gently within the grace, then at once."""
        self.retire()
        if self._watching is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            await asyncio.wait([self._watching], timeout=grace_us / 1e6)
            self._signal(signal.SIGKILL)
            await self._watching
        elif self._signal(signal.SIGKILL) and self._process is not None:
            await self._process.wait()

    async def _begin(self) -> None:
        """Start a life and wait until it is ready, or has ended."""
        assignment = self._next
        self._life = assignment.process
        path = self._folder / f"{assignment.member}.{assignment.life}"
        journal = path.with_suffix(f"{path.suffix}.journal")
        if assignment.journal:
            assignment = msgspec.structs.replace(assignment, journal=str(journal))
            self.journals.append(journal)
        steps = tuple(map(tuple, self._steps_of(self.name, self.group)))
        assignment = msgspec.structs.replace(
            assignment, is_healed=self.is_healed, clock_steps=steps
        )
        write_assignment(path, assignment)
        self._is_killed = self._is_ready = False
        if assignment.role != "providers":
            self._note_life(self._life, "start")
        with (self._folder / LOG).open("ab") as log:
            try:
                self._process = process = await self._start(assignment, path, log.fileno())
            except SimulationError as error:
                raise SimulationError(f"{error}: {self._last_words('')}") from error
        self._next = msgspec.structs.replace(assignment, life=assignment.life + 1)
        line = await self._said(process)
        self._is_ready = bool(line)
        if line:
            if self.is_healed and not assignment.is_healed:
                self._signal(signal.SIGUSR1)
            self.url = msgspec.json.decode(line)["url"]

    async def _said(self, process: Started) -> bytes:
        """The line by which it says that it is ready; nothing if it has ended, or kept silent."""
        assert process.stdout is not None
        reading = asyncio.ensure_future(process.stdout.readline())
        await asyncio.wait([reading], timeout=READY_S)
        if not reading.done():
            process.kill()
        line = await reading
        if not line:
            await process.wait()
        return line

    def _failure(self, code: int) -> SimulationError | EnvironmentNotReady:
        """The error of a life that has ended with `code`, with the last words of its log."""
        why = self._last_words(self._life)
        if code == NOT_READY:
            return EnvironmentNotReady(
                why, server=f"process {self._life}", address="", remedy="it was to be there"
            )
        return SimulationError(f"process {self._life} has ended with {code}: {why}")

    def _last_words(self, life: str) -> str:
        """The last words of a life in the log of the run; of nobody in particular without one."""
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            lines = (self._folder / LOG).read_bytes().splitlines()
        # Several write there; a line that is no JSON is a last cry, maybe of this one.
        own = [line for line in lines if line[:1] != b"{" or (life and life.encode() in line)]
        return " / ".join(map(_words, own[-_LINES_SHOWN:]))[-_LOG_SHOWN:]

    async def _watch(self) -> None:
        """Start it again whenever it has ended."""
        try:
            await self._live_on()
        except SimulationError as gone:
            self._fail(gone)

    async def _live_on(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            self._awake()
            if code == -signal.SIGKILL:
                self._say_killed()
            elif self._is_wanted and (code == 0 or self._met_its_own_error()):
                # Nobody had told it to, unless its journal says so.
                self._note_life(self._life, "exited")
            elif code not in _EXPECTED and self._is_wanted:
                self._fail(self._failure(code))
                return
            if self._is_wanted:
                await asyncio.sleep(self._restart_s)
            if not self._is_wanted:
                return
            await self._begin()

    def _fail(self, error: SimulationError | EnvironmentNotReady) -> None:
        self.error = error
        self._on_error()

    def _met_its_own_error(self) -> bool:
        """Whether the order system's own error has ended the present life, by its journal."""
        journal = self.journals[-1] if self.journals else None
        if journal is None or not journal.exists():
            return False
        where = FIELDS["failed"].index("where")
        return any(
            entry[0] == "failed" and ends_process(str(entry[where]))
            for entry in read_journal(journal)
        )

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there was somebody to signal."""
        if self._process is None or self._process.returncode is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
            return True
        return False

    def _say_killed(self) -> None:
        if not self._is_killed:
            self._is_killed = True
            self._note_life(self._life, "kill")


class _Line(msgspec.Struct):
    message: str


_line: Final = msgspec.json.Decoder(_Line).decode


def _words(line: bytes) -> str:
    """What a line of a log says; a line that is none of the lab's as it is."""
    try:
        return _line(line).message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return line.decode("utf-8", "replace")
