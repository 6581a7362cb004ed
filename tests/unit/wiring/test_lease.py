"""A lease: held as long as its run lives, found when it was killed, gone when all is gone."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.wiring.worlds.lease import FoundLease, end_lease, leased, leases, new_lease

TOP = Path(__file__).resolve().parents[3]

HOLDER = """\
import sys, time
from lab.wiring.worlds.lease import leased, new_lease
lease = new_lease()
with leased(lease, []):
    print(lease.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def the_lease() -> FoundLease:
    (found,) = leases()
    return found


def test_a_lease_is_held_for_the_length_of_its_run_and_then_gone() -> None:
    lease = new_lease()
    with leased(lease, []) as folder:
        (folder / "journal").write_text("x", encoding="utf-8")
        found = the_lease()
        assert (found.lease, found.folder, found.is_held) == (lease, folder, True)
        # Addresses may hold passwords.
        assert (folder / "lease.json").stat().st_mode & 0o777 == 0o600
    assert leases() == []
    assert not folder.exists()


def test_the_lease_of_a_killed_run_is_found_and_held_by_nobody(tmp_path: Path) -> None:
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
        found = the_lease()
        assert (found.lease.name, found.lease.process, found.is_held) == (name, holder.pid, True)
        holder.send_signal(signal.SIGKILL)
    found = the_lease()
    assert (found.lease.name, found.is_held) == (name, False)
    end_lease(found)
    assert leases() == []
    assert not found.folder.exists()


def test_what_could_not_be_removed_keeps_its_lease_and_nothing_else() -> None:
    lease, left = new_lease(), list[str]()
    with leased(lease, left) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "journal").write_text("x", encoding="utf-8")
        left.append("the server is away")
    assert (the_lease().lease, the_lease().is_held) == (lease, False)
    assert [file.name for file in folder.iterdir()] == ["lease.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"name": 5}', '{"name": "lab_0123456789"}', '{"name": "public"}']
)
def test_a_file_that_is_no_lease_is_left_alone(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "lab-other"
    folder.mkdir()
    (folder / "lease.json").write_text(text, encoding="utf-8")
    assert leases() == []
    assert folder.exists()


def test_a_lease_that_names_something_else_than_a_run_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "lab-other"
    folder.mkdir()
    text = new_lease()
    for name in ("lab", "public", "lab_0123456789x", "../lab_0123456789"):
        document = (
            f'{{"name": "{name}", "postgres_dsn": "", "redis_url": "", "kafka_bootstrap": "", '
            f'"process": {text.process}}}'
        )
        (folder / "lease.json").write_text(document, encoding="utf-8")
        assert leases() == []
