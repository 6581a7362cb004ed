"""Other Pythons on this machine, each with the lab installed in a virtual environment of its own.

Not here: tests.
"""

import fcntl
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYENV = "PYENV_VERSION=3.11:3.12:3.13"
"""Where `python3.12` is a shim of pyenv, it runs only if it is told which versions it may take."""

VERSIONS = ("3.11", "3.12", "3.13")

TOP = Path(__file__).parents[2]


def find_python(version: str) -> str:
    """The command of that version; skips the test where there is none that runs."""
    command = shutil.which(f"python{version}")
    if command is not None:
        asked = subprocess.run(
            ["env", PYENV, command, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == version:
            return command
    pytest.skip(f"python{version} is not on PATH")


@functools.cache
def lab_python(version: str) -> str:
    """The interpreter of a virtual environment with the lab in it.

    Made once for all tests, in the environment that runs them, and again when `pyproject.toml` asks
    for other things. Skips the test where the version is missing, or where nothing can be
    installed; the latter is a failure with CI set.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    home = Path(sys.prefix) / "other-pythons" / version
    home.parent.mkdir(exist_ok=True)
    asked_for = (TOP / "pyproject.toml").read_text("utf-8") + str(TOP)
    stamp = home / "asked-for"
    with (home.parent / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text("utf-8") != asked_for:
            _install(version, home)
            stamp.write_text(asked_for, "utf-8")
    return str(home / "bin" / "python")


def _install(version: str, home: Path) -> None:
    made = [
        ["env", PYENV, find_python(version), "-m", "venv", "--clear", str(home)],
        [str(home / "bin" / "pip"), "install", "--quiet", "--editable", str(TOP)],
    ]
    for command in made:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = f"cannot install the lab for Python {version}: {done.stderr.strip()[-300:]}"
            if os.environ.get("CI"):  # noqa: TID251 - tests are run by CI or by hand
                pytest.fail(why)
            pytest.skip(why)
