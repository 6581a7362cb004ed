"""One seed is one run: in any process, under any hash seed and heap layout, on every Python.

A test inside one process cannot see an order that depends on addresses; so each run here is a
process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.pythons import VERSIONS, lab_python

ROOT = Path(__file__).parents[2]

NOISY = """
import sys
junk = [object() for _ in range(int(sys.argv.pop(1)))]
if junk:
    import decimal, email.message, sqlite3, unittest, xml.dom.minidom
    del junk[::3]
from lab.cli import main
sys.exit(main())
"""


def digest(python: str, args: list[str], *, hash_seed: int, noise: int, out: Path) -> str:
    """The digest of a run in a fresh interpreter with `noise` objects made before."""
    command = [python, "-c", NOISY, str(noise), "run", *args, "--json", "--out", str(out)]
    ended = subprocess.run(
        ["env", f"PYTHONHASHSEED={hash_seed}", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=out,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["verdict"] == "PASS"
    return str(found["digest"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ["happy-path", "--orders", "500", "--seed", "7"],
        ["crashes", "--orders", "60", "--seed", "7"],
        ["timeouts", "--orders", "60", "--seed", "7", "--set", "run.order=shuffle"],
    ],
    ids=lambda args: args[0],
)
def test_neither_hash_seed_nor_heap_changes_the_digest(args: list[str], tmp_path: Path) -> None:
    digests = {
        digest(sys.executable, args, hash_seed=hash_seed, noise=noise, out=tmp_path)
        for hash_seed, noise in [(0, 0), (1, 0), (0, 50_000), (2, 50_001), (3, 123_457)]
    }

    assert len(digests) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_gives_the_same_digest(version: str, tmp_path: Path) -> None:
    python = lab_python(version)

    for args in (
        ["happy-path", "--orders", "500", "--seed", "7"],
        ["crashes", "--orders", "60", "--seed", "7", "--set", "run.order=shuffle"],
    ):
        here = digest(sys.executable, args, hash_seed=1, noise=0, out=tmp_path)
        there = digest(python, args, hash_seed=2, noise=77, out=tmp_path)
        assert there == here
