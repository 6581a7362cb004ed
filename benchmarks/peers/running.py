"""Lives of a consumer: started as a process, watched through its journal, ended by a signal.

Not here: what is measured (`kafka_rounds.py`), what a journal means (`judge.py`).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Self

from benchmarks.peers.catalogue import Peer
from benchmarks.peers.judge import Handling, Journal, Used, read_journal
from benchmarks.peers.workload import Job

_LOOK_S: Final = 0.05
_LOG_SHOWN: Final = 2_000


class MeasureError(Exception):
    """A consumer did not do what it is measured for; the message has the end of what it said."""


class Lives:
    """Every life that was begun, so that none outlives a comparison that ends early."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun: list[Consumer] = []
        self._is_over = False

    def begin(self, peer: Peer, job: Job) -> "Consumer":
        """A new life.

        Raises:
            MeasureError: `end` was called.
        """
        with self._lock:
            if self._is_over:
                raise MeasureError("the comparison has ended")
            consumer = Consumer(peer, job)
            self._begun.append(consumer)
            return consumer

    def end(self) -> None:
        """Kill every one, and let none begin."""
        with self._lock:
            self._is_over = True
            for consumer in self._begun:
                consumer.kill()


class Consumer:
    """One life of a consumer; leaving the block kills it and all that it has started.

    Args:
        peer: whose program runs.
        job: what it is told. Lives of one journal write one behind the other.
    """

    def __init__(self, peer: Peer, job: Job) -> None:
        self._name = peer.name
        self._path = Path(job.journal)
        self._log = self._path.with_suffix(".log")
        self._offset = 0
        self._journal = Journal((), ())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.peers.{peer.module}", job.text()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Some start processes of their own: all are in one group, and die together.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and to all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self, within_s: float) -> tuple[float, bool]:
        """SIGTERM to its first process, as an orchestrator sends it, and SIGKILL when time is up.

        Returns:
            Seconds until it was gone, and whether it went by itself.
        """
        start_s = time.monotonic()
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return time.monotonic() - start_s, False
        spent_s = time.monotonic() - start_s
        self.kill()
        return spent_s, True

    def wait_until(self, seen: Callable[[Journal], bool], within_s: float) -> Journal:
        """Look at the journal until `seen` says so.

        Raises:
            MeasureError: time is up, or the process ended by itself.
        """
        until_s = time.monotonic() + within_s
        while not seen(self.read()):
            self._refuse_end()
            if time.monotonic() > until_s:
                handled = len(self._journal.handlings)
                raise self._failure(f"has handled {handled:,} records after {within_s:g} s")
            time.sleep(_LOOK_S)
        return self._journal

    def let_work(self, for_s: float, *, first_s: float) -> tuple[Journal, Used]:
        """Wait for its first line, and then so long without a look at its journal.

        Raises:
            MeasureError: nothing came within `first_s`, or the process ended by itself.
        """
        self.wait_until(lambda journal: bool(journal.handlings), first_s)
        start_ns, before_s = time.monotonic_ns(), processor_s(self._process.pid)
        time.sleep(for_s)
        end_ns, after_s = time.monotonic_ns(), processor_s(self._process.pid)
        self._refuse_end()
        return self.read(), Used(start_ns, end_ns, after_s - before_s)

    def wait_done(
        self, records: int, *, quiet_s: float, first_s: float, within_s: float
    ) -> Journal:
        """Look until nothing more is to be expected.

        That is when nothing was written for `quiet_s` since it last wrote, or for `first_s` if it
        has written nothing; and a second after all `records` were handled.

        Raises:
            MeasureError: it goes on for longer than `within_s`, or the process ended by itself.
        """
        size = self._size()
        last_s, patience_s = time.monotonic(), first_s

        def seen(journal: Journal) -> bool:
            nonlocal size, last_s, patience_s
            if self._size() != size:
                size, last_s, patience_s = self._size(), time.monotonic(), quiet_s
            is_all = len(distinct(journal.handlings)) == records
            return time.monotonic() - last_s > (min(1.0, quiet_s) if is_all else patience_s)

        return self.wait_until(seen, within_s)

    def read(self) -> Journal:
        """All that its lives have written so far.

        Only what is new is looked at: whoever measures takes processor time from the measured.
        """
        if self._size() > self._offset:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._offset += len(whole)
            done, slow = read_journal(whole)
            self._journal = Journal(self._journal.handlings + done, self._journal.slow_ns + slow)
        return self._journal

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _refuse_end(self) -> None:
        if self._process.poll() is not None:
            raise self._failure(f"has ended with {self._process.returncode}")

    def _failure(self, what: str) -> MeasureError:
        said = self._log.read_text("utf-8", "replace")[-_LOG_SHOWN:].strip()
        return MeasureError(f"{self._name} {what}; it said:\n{said or '(nothing)'}")


def processor_s(session: int) -> float:
    """Processor time so far of all living processes of a session, as Linux counts it.

    Source: proc(5), `/proc/pid/stat`.
    """
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # Any may end while we look.
        with suppress(OSError):
            _, _, text = stat.read_text("utf-8", "replace").rpartition(")")
            fields = text.split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def distinct(handlings: tuple[Handling, ...]) -> set[tuple[int, int]]:
    """Key and number of every record that was handled."""
    return {(one.key, one.number) for one in handlings}
