"""The commands with which a result page ends: each only where it would say something.

A command that leads on from a run has its line here. Not here: the commands themselves, and the
scenario's own `Next` (`render`).
"""

import shlex
from collections.abc import Iterable
from pathlib import Path

from lab.cli.options import DEFAULT_OUT
from lab.report.result import Result


def ways_on(result: Result) -> Iterable[tuple[str, str]]:
    """Labels and commands: how to look further into this run."""
    # Of a run that was not kept there is nothing to read.
    if result.run_dir is None or not any(check.verdict == "FAIL" for check in result.checks):
        return
    name = _name_of(result.run_dir)
    yield "Story", shlex.join(["lab", "explain", *name])
    if result.orders.submitted > 1 or sum(fault.fired for fault in result.faults) > 1:
        yield "Smaller", shlex.join(["lab", "shrink", *name])


def _name_of(run_dir: str) -> tuple[str, ...]:
    """The run as a command line names it: it is the latest of the usual folder, or by its path."""
    return () if Path(run_dir).parts[:-2] == DEFAULT_OUT.parts else (run_dir,)
