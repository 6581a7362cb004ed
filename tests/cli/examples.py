"""Examples of a page: what a reader types, what it prints, and what the page shows of that.

A `sh` block is run as it stands, by a shell in which `lab` and `python` are those under test. All
blocks of a page run in one folder, in their order, so that one may look at the run of another. The
`text` block behind `<!-- excerpt -->` shows a part of what the block above has printed: its lines
stand there one below the other. `...` stands for anything within a line; on a line of its own it
stands for any lines.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[2]
SHELL: Final = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN: Final = re.compile(
    r"^```sh\n(.*?)^```\n+<!-- excerpt -->\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A script of a page, and the part of its output that the page shows."""

    script: str
    shown: str


def examples_of(page: str) -> list[Example]:
    """The examples of a page, in their order."""
    found = [Example(script=script, shown=shown) for script, shown in SHOWN.findall(page)]
    silent = set(SHELL.findall(page)) - {example.script for example in found}
    assert not silent, f"nothing is shown of what this prints: {silent}"
    return found


def steady(text: str) -> str:
    """A result page without what differs from run to run: wall time, digest, folder."""
    text = re.sub(r"in [\d.]+s |digest \w+", "_", text)
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("Files")]
    return "\n".join(lines) + "\n"


def is_shown(shown: str, printed: str) -> bool:
    """Whether `shown` is a part of `printed`, as the module says."""
    lines = [
        "(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
        for line in steady(shown).splitlines()
    ]
    return re.search("^" + "".join(lines), steady(printed), re.MULTILINE) is not None


class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._commands = folder / "commands"
        self._commands.mkdir()
        self._offer("lab", f'exec "{sys.executable}" -m lab "$@"')
        self._offer("python", f'exec "{sys.executable}" "$@"')

    def types(self, script: str) -> str:
        """Run a script; what it prints. A mistake, which is told on standard error, fails."""
        variables = os.environ.items()  # noqa: TID251 - the shell's part
        kept = {name: value for name, value in variables if not name.startswith("LAB_")}
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=self._folder,
            env={
                **kept,
                "PATH": f"{self._commands}{os.pathsep}{kept['PATH']}",
                "PYTHONPATH": str(TOP),
                "COLUMNS": "100",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr, done.stderr
        return done.stdout

    def _offer(self, name: str, line: str) -> None:
        command = self._commands / name
        command.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        command.chmod(0o755)
