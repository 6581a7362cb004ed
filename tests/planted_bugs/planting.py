"""Planted bugs in the running system: one part of it is broken, and it runs as a user would run it.

A bug replaces a name that wiring composes, or a cell in the table of the switches (`at`), by a
broken variant, or leaves a part out (`off`). The run around it is nothing special: a scenario,
faults and policies that anybody could ask for, and that all promises survive without the bug.
Not here: the bugs (one file per family of promises), and bugs of histories
(`test_planted_histories.py`).
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeVar

import pytest

from lab import run
from lab.report.result import CheckResult, Result
from lab.wiring.policy import Switches

P = TypeVar("P", bound=Callable[..., object])

TABLE: Final = "lab.wiring.policy.Switches."

NAMED: Final = re.compile(r"\border \d+|\b[a-z]+-\d+(#\d+)?")
"""A witness names an order, or a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A run as a user asks for it: `lab run SCENARIO --orders ... --fault ... --set ...`.

    Attributes:
        settings: policies that differ, as pairs.
        world: names that are replaced with and without the bug, because no option says so yet.
    """

    scenario: str = "happy-path"
    seed: int = 1
    orders: int | None = 40
    rate: float | None = None
    faults: tuple[str, ...] = ()
    settings: tuple[tuple[str, object], ...] = ()
    world: tuple[tuple[str, object], ...] = ()

    def run(self, *, off: tuple[str, ...] = (), settings: Mapping[str, object]) -> Result:
        """Run it, with something switched off or set otherwise."""
        with replaced(self.world):
            return run(
                self.scenario,
                seed=self.seed,
                orders=self.orders,
                rate=self.rate,
                faults=self.faults,
                off=off,
                settings={**dict(self.settings), **settings},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A planted bug.

    Attributes:
        promise: the one that it breaks.
        story: what the programmer did wrong.
        falls: every promise that it breaks, with why the others fall too.
        witness: part of the sentence that the check must say.
        parts: names with what stands there instead.
        off, settings: parts that are left out, or the policy that is the mistake.
    """

    promise: str
    name: str
    story: str
    setup: Setup
    witness: str = ""
    falls: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[tuple[str, object], ...] = ()
    off: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def broken(self) -> set[str]:
        """All promises that it breaks."""
        return {self.promise, *self.falls}


class Bugs(list[Bug]):
    """The bugs of one family."""

    def plant(
        self,
        promise: str,
        *at: str,
        setup: Setup,
        witness: str = "",
        falls: Mapping[str, str] | None = None,
        off: tuple[str, ...] = (),
        settings: Mapping[str, object] | None = None,
        value: object = None,
    ) -> Callable[[P], P]:
        """The decorated part, put at the names `at`, breaks `promise`; its docstring says how.

        Without `at` the mistake is what is left out, or set: see `Bug`. A `value` is put at the
        names instead of the part, for mistakes that are no code.
        """

        def register(part: P) -> P:
            self.append(
                Bug(
                    promise=promise,
                    name=part.__name__,
                    story=(part.__doc__ or "").strip(),
                    setup=setup,
                    witness=witness,
                    falls=falls or {},
                    parts=tuple((name, part if value is None else value) for name in at),
                    off=off,
                    settings=settings or {},
                )
            )
            return part

        return register


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Inside, the system has the bug."""
    with replaced(bug.parts):
        yield


@contextmanager
def replaced(parts: tuple[tuple[str, object], ...]) -> Iterator[None]:
    """Inside, each name stands for something else. A name that does not exist is an error.

    A row of the table of the switches cannot be changed, so another one stands in its place.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, part in parts:
            row, _, cell = name.rpartition(".")
            if row.startswith(TABLE):
                switch = getattr(Switches, row.removeprefix(TABLE))
                patch.setattr(row, dataclasses.replace(switch, **{cell: part}))
            else:
                patch.setattr(name, part)
        yield


def in_background(call: Coroutine[Any, Any, object]) -> None:
    """What programmers do who do not want to wait: a task that nobody looks after."""
    _ = asyncio.get_running_loop().create_task(call)


def run_with(bug: Bug) -> Result:
    """The result of the setup with the bug in the system."""
    with planted(bug):
        return bug.setup.run(off=bug.off, settings=bug.settings)


@cache
def run_without(setup: Setup) -> Result:
    """The result of the same setup in a sound system; run once, however many bugs share it."""
    return setup.run(settings={})


def failed(result: Result) -> dict[str, CheckResult]:
    """The broken promises of a run."""
    return {check.name: check for check in result.checks if check.verdict == "FAIL"}
