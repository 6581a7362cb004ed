"""What a process of the lab makes of the signals of its supervisor, at every moment of its end."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOP = Path(__file__).resolve().parents[2]


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


EARLY = """
import os, signal
os.kill(os.getpid(), signal.SIGTERM)
raise SystemExit("it was not heard")
"""
"""The first library of weight that a command imports, as a module that sends it a signal."""

AS_FIRST = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@pytest.mark.parametrize("command", [("serve",), ("relay",), ("work", "payment"), ("providers",)])
@pytest.mark.parametrize("prefix", [(), AS_FIRST], ids=["any-process", "first-process"])
def test_a_process_that_is_told_to_stop_before_it_has_begun_ends_well(
    tmp_path: Path, prefix: tuple[str, ...], command: tuple[str, ...]
) -> None:
    if prefix and (
        not shutil.which(prefix[0]) or subprocess.run([*prefix, "true"], check=False).returncode
    ):
        pytest.skip("needs a process space of its own (unshare --user --pid)")
    (tmp_path / "typer.py").write_text(EARLY, "utf-8")
    path = os.pathsep.join((str(tmp_path), str(TOP)))
    ended = subprocess.run(
        [*prefix, sys.executable, "-m", "lab", *command],
        env={**os.environ, "PYTHONPATH": path},  # noqa: TID251 - a shell's part
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
