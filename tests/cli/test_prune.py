"""`lab prune` and `lab migrate` as typed. With servers: `tests/real/test_standing_care.py`."""

import pytest

from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode


@pytest.mark.parametrize("length", ["7", "0d", "-1d", "7w", "1e3s", "", "999999999d"])
def test_a_length_of_time_that_is_none_is_refused(
    length: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["prune", "--older-than", length]) == ExitCode.USAGE
    assert "--older-than must be a length of time" in capsys.readouterr().err


def test_settings_whose_inbox_forgets_too_early_are_refused_with_both_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in ("prune", "migrate", "relay"):
        assert run_command([command, "--set", "retention.inbox_ms=1000"]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert "retention.inbox_ms" in said
        assert "bus.retention_ms" in said


def test_a_server_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_POSTGRES_DSN", "postgresql://lab@127.0.0.1:9/lab")
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    for command in ("prune", "migrate"):
        assert run_command([command]) == ExitCode.NOT_READY
        assert "127.0.0.1:9" in capsys.readouterr().err
