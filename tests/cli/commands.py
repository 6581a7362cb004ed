"""Calls the lab as a shell would."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str


def lab(*arguments: str, folder: Path, variables: Mapping[str, str] | None = None) -> Told:
    """Run one command in `folder`, without `LAB_*` variables but those given."""
    all_variables = os.environ.items()  # noqa: TID251 - the shell's part
    environment = {name: value for name, value in all_variables if not name.startswith("LAB_")}
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2]), **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Told(code=done.returncode, out=done.stdout, err=done.stderr)
