"""What a process of the lab makes of the signals of its supervisor, at every moment of its end."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("delay_s", [0, 0.01, 0.05, 0.2])
def test_a_heal_that_comes_while_a_process_ends_does_not_kill_it(
    tmp_path: Path, delay_s: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "providers", "--port", "0", "--ledger", str(tmp_path / "l")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert b"ready" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        code = None
        for _ in range(10_000):
            process.send_signal(signal.SIGUSR1)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=max(delay_s, 0.001))
                break
        assert code == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
