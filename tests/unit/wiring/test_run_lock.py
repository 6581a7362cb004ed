"""A lock: held as long as its run lives, found when it was killed, gone when all is gone."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.wiring.worlds.run_lock import FoundLock, forget_lock, holding, new_run_lock, run_locks

TOP = Path(__file__).resolve().parents[3]

HOLDER = """\
import sys, time
from lab.wiring.worlds.run_lock import holding, new_run_lock
lock = new_run_lock()
with holding(lock, []):
    print(lock.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def the_lock() -> FoundLock:
    (found,) = run_locks()
    return found


def test_a_lock_is_held_for_the_length_of_its_run_and_then_gone() -> None:
    lock = new_run_lock()
    with holding(lock, []) as (_, folder, *_):
        (folder / "journal").write_text("x", encoding="utf-8")
        found = the_lock()
        assert (found.lock, found.folder, found.is_held) == (lock, folder, True)
        # Addresses may hold passwords.
        assert (folder / "lock.json").stat().st_mode & 0o777 == 0o600
    assert run_locks() == []
    assert not folder.exists()


def test_the_lock_of_a_killed_run_is_found_and_held_by_nobody(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=TOP,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # noqa: TID251 - a shell's part
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        found = the_lock()
        assert (found.lock.name, found.lock.process, found.is_held) == (name, holder.pid, True)
        holder.send_signal(signal.SIGKILL)
    found = the_lock()
    assert (found.lock.name, found.is_held) == (name, False)
    forget_lock(found)
    assert run_locks() == []
    assert not found.folder.exists()


def test_a_lock_is_held_as_long_as_one_process_of_its_run_lives() -> None:
    with holding(new_run_lock(), left := ["something is left, so the file stays"]) as held:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=(held.handle,),
        )
    assert left
    with child:
        assert the_lock().is_held
    assert not the_lock().is_held


def test_what_could_not_be_removed_keeps_its_lock_and_nothing_else() -> None:
    lock, left = new_run_lock(), list[str]()
    with holding(lock, left) as (_, folder, *_):
        (folder / "sub").mkdir()
        (folder / "sub" / "journal").write_text("x", encoding="utf-8")
        left.append("the server is away")
    assert (the_lock().lock, the_lock().is_held) == (lock, False)
    assert [file.name for file in folder.iterdir()] == ["lock.json"]


def test_a_folder_that_takes_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EnvironmentNotReady, match="TMPDIR"), holding(new_run_lock(), []):
        pass


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": 5}', '{"name": "lab_0123456789"}', '{"name": "public"}']
)
def test_a_file_that_is_no_lock_is_left_alone(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "lab-other"
    folder.mkdir()
    (folder / "lock.json").write_text(text, encoding="utf-8")
    assert run_locks() == []
    assert folder.exists()


def test_a_lock_that_names_something_else_than_a_run_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "lab-other"
    folder.mkdir()
    text = new_run_lock()
    for name in ("lab", "public", "lab_0123456789x", "../lab_0123456789"):
        document = (
            f'{{"name": "{name}", "postgres_dsn": "", "redis_url": "", "kafka_bootstrap": "", '
            f'"process": {text.process}}}'
        )
        (folder / "lock.json").write_text(document, encoding="utf-8")
        assert run_locks() == []
