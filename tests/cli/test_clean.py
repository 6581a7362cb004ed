"""`lab clean` as typed, without servers. With them: `tests/real/test_clean.py`."""

from pathlib import Path

import msgspec
import pytest

from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode
from lab.domain.errors import EnvironmentNotReady
from lab.wiring import leftovers
from lab.wiring.leftovers import Cleaned, Leftover, Looked
from lab.wiring.worlds.run_lock import FoundLock, RunLock

KILLED = Leftover(name="lab_0123456789", state="killed", topics=3, folder="/somewhere/lab-x")
RUNNING = Leftover(name="lab_aaaaaaaaaa", state="running", topics=48)
ELSEWHERE = Leftover(name="lab_bbbbbbbbbb", state="elsewhere")
KEPT = Leftover(name="lab_cccccccccc", state="no lock", schemas=1)


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were removed, on servers that hold one of each kind."""
    removed: list[str] = []

    def clean(chosen: list[Leftover]) -> Cleaned:
        removed.extend(one.name for one in chosen)
        return Cleaned(removed=[one.name for one in chosen], failed=[])

    found = Looked(found=[KILLED, RUNNING, ELSEWHERE, KEPT], away=["Redis: it is away"])
    monkeypatch.setattr(leftovers, "look", lambda: found)
    monkeypatch.setattr(leftovers, "clean", clean)
    return removed


def test_only_a_killed_run_is_removed_unasked(
    cleaned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["clean", "--yes"]) == ExitCode.PASS
    captured = capsys.readouterr()
    assert cleaned == [KILLED.name]
    assert "not looked at: Redis: it is away" in captured.err
    for one in (KILLED, RUNNING, ELSEWHERE, KEPT):
        assert one.name in captured.out


def test_nothing_is_removed_that_nobody_said_yes_to(
    cleaned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["clean"]) == ExitCode.PASS
    assert run_command(["clean", "--dry-run", "--yes"]) == ExitCode.PASS
    assert cleaned == []
    assert "--yes" in capsys.readouterr().err


def test_a_run_that_was_kept_goes_by_name(cleaned: list[str]) -> None:
    assert run_command(["clean", KEPT.name, "--yes"]) == ExitCode.PASS
    assert cleaned == [KEPT.name]


@pytest.mark.parametrize("name", [RUNNING.name, ELSEWHERE.name, "lab", "lab_dddddddddd"])
def test_a_run_in_use_or_unknown_is_refused(
    name: str, cleaned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["clean", name, "--yes"]) == ExitCode.USAGE
    assert name in capsys.readouterr().err
    assert cleaned == []


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (msgspec.structs.replace(KILLED, keys=None), "Redis was not looked at"),
        (msgspec.structs.replace(KILLED, topics=None, groups=None), "Kafka was not looked at"),
        (msgspec.structs.replace(KILLED, state="running"), "in use by now"),
    ],
)
def test_a_run_of_which_something_may_be_left_keeps_its_lock(
    now: Leftover, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = RunLock(
        name=KILLED.name, postgres_dsn="p", redis_url="r", kafka_bootstrap="k", process=1
    )
    found = FoundLock(lock=lock, folder=tmp_path, is_held=False)
    monkeypatch.setattr(leftovers, "run_locks", lambda: [found])
    monkeypatch.setattr(leftovers, "look", lambda: Looked(found=[now], away=[]))
    done = leftovers.clean([KILLED])
    assert list(done.removed) == []
    assert said in done.failed[0]
    assert tmp_path.exists()


def test_without_any_server_nothing_can_be_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("LAB_POSTGRES_DSN", "postgresql://lab@127.0.0.1:9/lab")
    monkeypatch.setenv("LAB_REDIS_URL", "redis://127.0.0.1:9/0")
    with pytest.raises(EnvironmentNotReady):
        leftovers.look()
    assert run_command(["clean"]) == ExitCode.NOT_READY
    assert "127.0.0.1:9" in capsys.readouterr().err
