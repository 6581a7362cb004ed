"""The third parties' ledgers on disk: their deeds and answers survive their processes.

One line per execution, appended by one `write(2)` before anybody hears of it: with its entry in the
ledger *and* the answer of its key, so that no kill comes between the two. The page cache survives a
SIGKILL, so nothing is synced. The last line may be torn by it; nobody has heard of it.

Not here: forgetting. A file belongs to one run.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from lab.domain.errors import EnvironmentNotReady
from lab.history.entries import Entry
from lab.ports.clock import Clock
from lab.ports.providers import GatewayAnswer
from lab.providers.core import Answer, Refused, Request, Server

_MODE: Final = 0o600
_encode: Final = msgspec.json.Encoder().encode


class Executed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line.

    Attributes:
        t_us: when, on the machine's monotonic clock.
        wall_us: when, on its wall clock: ages are told by it, as the machine may have started anew.
        moved, refused: the answer; True if it is neither.
        entry: `ledger` or `answered`; empty for a failure that was stored and moved nothing.
    """

    t_us: int
    wall_us: int
    provider: str
    request: Request
    moved: GatewayAnswer | None = None
    refused: Refused | None = None
    entry: tuple[str | int, ...] = ()

    @property
    def is_answer(self) -> bool:
        """Whether it only tells of an answer: nothing was done, and no key stands for it."""
        return bool(self.entry) and self.entry[0] == "answered"

    @property
    def answer(self) -> Answer:
        """The answer that the request's key stands for."""
        return self.moved or self.refused or True


_decode: Final = msgspec.json.Decoder(Executed).decode


class LedgerFile:
    """The open file. Made by `ledger_file`.

    Attributes:
        failure: why nothing can be written any more; None if all is well. From then on memory
            may know more than the file, so nobody must get an answer.
    """

    def __init__(self, path: Path, fd: int, past: Sequence[Executed], clock: Clock) -> None:
        self.path = path
        self.failure: OSError | None = None
        self._fd = fd
        self._past = past
        self._clock = clock
        self._entry: Entry = ()
        self._size = os.fstat(fd).st_size

    def write(self, entry: Entry) -> None:
        """Take a line that a server writes, until `keep`. This is the servers' `write`."""
        self._entry = entry

    def keep(self, provider: str, request: Request, answer: Answer) -> None:
        """After an execution: append it, unless it only gave an old answer again."""
        if self._entry:
            moved = answer if isinstance(answer, GatewayAnswer) else None
            self._append(provider, request, moved, None)

    def keep_failure(self, provider: str, request: Request, refused: Refused) -> None:
        """Append a failure that was stored as its key's answer."""
        self._append(provider, request, None, refused)

    def keep_told(self, provider: str, request: Request) -> None:
        """After an answer was given: append it, if the server wrote it down."""
        if self._entry:
            self._append(provider, replace(request, items=()), None, None)

    def restore(self, servers: Sequence[Server]) -> None:
        """Give the servers back their knowledge from before this process began."""
        by_name = {server.name: server for server in servers}
        now_us, wall_us = self._clock.now_us(), self._clock.wall_us()
        for line in self._past:
            if line.is_answer:
                continue
            at_us = now_us - max(wall_us - line.wall_us, 0)
            by_name[line.provider].restore(line.request, line.answer, at_us)
        self._past = ()

    def _append(
        self,
        provider: str,
        request: Request,
        moved: GatewayAnswer | None,
        refused: Refused | None,
    ) -> None:
        entry, self._entry = self._entry, ()
        if self.failure is not None:
            return
        clock = self._clock
        line = _encode(
            Executed(
                clock.now_us(),
                clock.wall_us(),
                provider,
                request,
                moved,
                refused,
                entry,  # type: ignore[arg-type]  # entries of `_record` hold nothing else
            )
        )
        try:
            self._write(line + b"\n")
        except OSError as failure:
            self.failure = failure

    def _write(self, line: bytes) -> None:
        """One whole line, or none."""
        written = os.write(self._fd, line)
        if written < len(line):
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._size += written


@contextlib.contextmanager
def ledger_file(path: Path, *, clock: Clock) -> Iterator[LedgerFile]:
    """The ledger at `path`, created if there is none, for one process at a time.

    Raises:
        EnvironmentNotReady: another process has it open, it cannot be opened, or a line of it was
            not written by us.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise _unusable(path, f"it cannot be opened ({error.strerror})") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _unusable(path, "another process keeps it") from None
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        past = tuple(_lines(path, text[:whole]))
        if whole < len(text):
            os.ftruncate(fd, whole)
        yield LedgerFile(path, fd, past, clock)
    finally:
        os.close(fd)


def ledger_entries(path: Path) -> Iterator[Entry]:
    """Every fact of the file, oldest first; its writer may go on meanwhile.

    Raises:
        FileNotFoundError: there is none.
        EnvironmentNotReady: a line was not written by us.
    """
    text = path.read_bytes()
    for line in _lines(path, text[: text.rfind(b"\n") + 1]):
        if line.entry:
            yield line.entry


def _lines(path: Path, text: bytes) -> Iterator[Executed]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            yield _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _unusable(path, f"line {number} is damaged ({error})") from error


def _unusable(path: Path, what: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        what,
        server="the ledger of the third parties",
        address=str(path),
        remedy="name another file, or move this one away",
    )
