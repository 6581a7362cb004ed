"""The lock of a run on real servers: it tells whose topics, schema and keys stand there.

A supervisor that is killed removes nothing. Later nobody can tell its things from those of a run
that goes on, or of one that was kept on purpose.

The rule: before it makes anything, a run writes its name and its servers into a file in a
temporary folder of its own, and keeps that file locked; its processes inherit the open file. The
system takes the lock off when the last of them has ended, however they end; the folder goes when
everything else is gone. So a lock that nobody holds is of a run that was killed and has nobody left
who could join a group again, and a name without a lock is not touched unasked.

Not here: looking for what stands on the servers (`lab.wiring.leftovers`).
"""

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from lab.domain.errors import EnvironmentNotReady
from lab.settings import environment
from lab.wiring.backends.readiness import addresses

NAME: Final = re.compile(r"lab_[0-9a-f]{10}")
"""Of every run on the servers, and of nothing else."""

_FOLDER: Final = "lab-"
_FILE: Final = "lock.json"


class RunLock(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has said of itself.

    Attributes:
        name: on the servers.
        postgres_dsn, redis_url, kafka_bootstrap: the servers that it uses; "" for those it does
            not.
        process: its supervisor's number.
    """

    name: str
    postgres_dsn: str
    redis_url: str
    kafka_bootstrap: str
    process: int


class FoundLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock on this machine; `is_held` says whether its run still lives."""

    lock: RunLock
    folder: Path
    is_held: bool


class HeldLock(NamedTuple):
    """A lock that this process holds.

    Attributes:
        handle: the open file that its processes inherit.
        left: why something could not be removed; then the file stays.
    """

    lock: RunLock
    folder: Path
    handle: int
    left: list[str]


def new_run_lock(*, kafka: bool = True, postgres: bool = True, redis: bool = True) -> RunLock:
    """The lock of a run that begins, under a name that no other one has, on the usual servers.

    Args:
        kafka: whether it uses a Kafka.
        postgres: whether it uses a PostgreSQL.
        redis: whether it uses a Redis.
    """
    at = addresses(environment())
    return RunLock(
        name=f"lab_{secrets.token_hex(5)}",
        postgres_dsn=at["POSTGRES_DSN"] if postgres else "",
        redis_url=at["REDIS_URL"] if redis else "",
        kafka_bootstrap=at["KAFKA_BOOTSTRAP"] if kafka else "",
        process=os.getpid(),
    )


@contextmanager
def holding(lock: RunLock, left: list[str]) -> Iterator[HeldLock]:
    """A temporary folder for the length of a run, which holds its lock.

    It has a short path: that of a socket may not be long.

    Args:
        lock: of the run.
        left: if it says anything in the end, something could not be removed: the lock stays.

    Raises:
        EnvironmentNotReady: nothing can be written there.
    """
    folder, handle = _take(lock)
    try:
        yield HeldLock(lock, folder, handle, left)
    finally:
        if left:
            for other in folder.iterdir():
                if other.name != _FILE:
                    _remove(other)
        else:
            _remove(folder)
        os.close(handle)


def run_locks() -> list[FoundLock]:
    """The locks in this machine's folder for temporary files that this user may read."""
    found = []
    for file in sorted(Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/{_FILE}")):
        # One of somebody else's, or one that goes at this moment, is none.
        with suppress(OSError, msgspec.MsgspecError):
            if file.stat().st_uid != os.getuid():
                continue
            lock = msgspec.json.decode(file.read_bytes(), type=RunLock)
            if NAME.fullmatch(lock.name):
                found.append(FoundLock(lock=lock, folder=file.parent, is_held=_is_held(file)))
    return found


def forget_lock(found: FoundLock) -> None:
    """Forget a lock whose run is over and whose things are gone."""
    _remove(found.folder)


def _take(lock: RunLock) -> tuple[Path, int]:
    """A folder with the lock in it, and the open file that holds it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
        # Under its name it is locked already: nobody may take it for one that was left.
        aside = folder / f".{_FILE}"
        handle = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, msgspec.json.encode(lock))
        aside.rename(folder / _FILE)
    except OSError as bad:
        raise EnvironmentNotReady(
            f"nothing can be written there ({bad.strerror})",
            server="the folder for temporary files",
            address=tempfile.gettempdir(),
            remedy="make room in it, or name another one with TMPDIR",
        ) from bad
    return folder, handle


def _is_held(file: Path) -> bool:
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
