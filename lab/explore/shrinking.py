"""The smallest run that still breaks a promise: few orders, and of its faults those that matter.

Guesses first: what struck the order of the witness, with that order alone. Then faults are taken
away in halves, quarters, eighths and one by one (delta debugging, Zeller and Hildebrandt 2002), and
orders likewise, until nothing more can go. Whatever is tried is run,
and kept only if the same promise breaks; so a wrong guess costs a run and nothing else.

Not here: writing what was found (`shrunk_files`), and running it (`lab.wiring`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as changed

from lab.checks.check import Finding
from lab.checks.registry import NAMES as PROMISE_NAMES
from lab.did_you_mean import did_you_mean
from lab.faults.plan.file import Firing
from lab.faults.table.spec import ordinal_of
from lab.wiring.many_runs import judged
from lab.wiring.spec import RunSpec

RUNS_MAX: Final = 5_000

Told = Callable[["Small", int], None]
"""`told(smallest, runs)` after each run."""


class ShrinkError(ValueError):
    """There is nothing to be shrunk; the message says why."""


@dataclass(frozen=True, slots=True)
class Small:
    """A plan that breaks the promise.

    Attributes:
        orders: how many; the first ones of the seed.
        firings: the faults, one by one.
        finding: the broken promise.
    """

    orders: int
    firings: tuple[Firing, ...]
    finding: Finding


class Shrinking:
    """One plan on its way to the smallest.

    Args:
        spec: of a simulated run, with the firings of its plan.
        promise: the one that is to break; None: the first that does.

    Attributes:
        smallest: so far.
        began: the plan as it was.
        runs: that were made.
        is_over: nothing more can go, as far as single steps tell.

    Raises:
        ShrinkError: the plan breaks no promise in the simulator, or not that one.
    """

    def __init__(self, spec: RunSpec, promise: str | None = None) -> None:
        assert spec.explicit is not None, "a plan has firings"
        self.runs = 0
        self.is_over = False
        self._spec = replace(spec, only=())
        broken = [
            found for found in self._findings(spec.orders, spec.explicit) if _is_broken(found)
        ]
        wanted = [found for found in broken if promise in (None, found.name)]
        if not wanted:
            raise ShrinkError(_nothing_broken(promise, broken))
        self._spec = replace(spec, only=(wanted[0].name,))
        self._known: set[tuple[object, ...]] = set()
        orders = spec.orders or max((ordinal_of(one.subject) for one in spec.explicit), default=1)
        self.began = self.smallest = Small(orders, spec.explicit, wanted[0])

    def run(self, *, runs_max: int = RUNS_MAX, told: Told | None = None) -> None:
        """Shrink until nothing more can go, or `runs_max` runs were made.

        `smallest` can be used whenever this is interrupted.
        """
        steps = (self._guess, self._fewer_firings, self._fewer_orders)
        limits = _Limits(runs_max, told)
        before = None
        while before != self.smallest and self.runs < runs_max:
            before = self.smallest
            for step in steps:
                step(limits)
        self.is_over = self.runs < runs_max

    # ---- steps

    def _guess(self, limits: "_Limits") -> None:
        """The order of the witness alone, then with more and more of what was around it."""
        ordinal = ordinal_of(self.smallest.finding.subject)
        if not ordinal:
            return
        timed = tuple(one for one in self.smallest.firings if one.is_timed)
        own = tuple(one for one in self.smallest.firings if ordinal_of(one.subject) == ordinal)
        alone = renumbered(own, (ordinal,))
        began_us = self._began_us(ordinal)
        earlier = tuple(changed(one, t_us=max(0, one.t_us - began_us)) for one in timed)
        until = tuple(one for one in self.smallest.firings if ordinal_of(one.subject) <= ordinal)
        for orders, firings in (
            *((1, alone), (1, alone + timed), (1, alone + earlier)),
            *((ordinal, own), (ordinal, own + timed), (ordinal, until)),
        ):
            if self._try(limits, orders, firings):
                return

    def _fewer_firings(self, limits: "_Limits") -> None:
        """Take faults away, in ever smaller parts."""
        parts = 1
        while self.smallest.firings and parts <= 2 * len(self.smallest.firings):
            firings = self.smallest.firings
            for without in _without_parts(firings, parts):
                if self._try(limits, self.smallest.orders, without):
                    break
            else:
                parts *= 2
                continue
            parts = max(1, parts // 2)

    def _fewer_orders(self, limits: "_Limits") -> None:
        """Take orders away, in ever smaller parts; those behind them move up."""
        parts = 2
        while self.smallest.orders > 1 and parts <= 2 * self.smallest.orders:
            numbers = tuple(range(1, self.smallest.orders + 1))
            for left in _without_parts(numbers, parts):
                if left and self._try(limits, len(left), renumbered(self.smallest.firings, left)):
                    break
            else:
                parts *= 2
                continue
            parts = max(2, parts // 2)

    # ---- runs

    def _try(self, limits: "_Limits", orders: int, firings: tuple[Firing, ...]) -> bool:
        """Run a plan; it is the smallest now if the promise breaks and it is smaller."""
        size = (len(firings), orders)
        key = (orders, tuple(sorted(map(_key, firings))))
        if size >= (len(self.smallest.firings), self.smallest.orders) or key in self._known:
            return False
        if self.runs >= limits.runs_max:
            return False
        self._known.add(key)
        (found,) = self._findings(orders, firings)
        if _is_broken(found):
            self.smallest = Small(orders, firings, found)
        if limits.told is not None:
            limits.told(self.smallest, self.runs)
        return _is_broken(found)

    def _findings(self, orders: int | None, firings: tuple[Firing, ...]) -> tuple[Finding, ...]:
        self.runs += 1
        spec = replace(self._spec, orders=orders, explicit=firings)
        return judged(spec).findings

    def _began_us(self, ordinal: int) -> int:
        """About when that order is posted: faults at a time may be counted from there."""
        rate = self._spec.rate
        return 0 if rate is None else round((ordinal - 1) / rate * 1_000_000)


@dataclass(frozen=True, slots=True)
class _Limits:
    runs_max: int
    told: Told | None


def renumbered(firings: Sequence[Firing], left: Sequence[int]) -> tuple[Firing, ...]:
    """The firings of the orders that are left, which are 1, 2, ... now; those of no order stay."""
    number_of = {ordinal: number for number, ordinal in enumerate(left, start=1)}
    found = []
    for firing in firings:
        ordinal = ordinal_of(firing.subject)
        if not ordinal:
            found.append(firing)
        elif ordinal in number_of:
            _, dot, send = firing.subject.partition(".")
            found.append(changed(firing, subject=f"{number_of[ordinal]}{dot}{send}"))
    return tuple(found)


def _without_parts(whole: tuple[object, ...], parts: int) -> Iterator[tuple]:  # type: ignore[type-arg]  # of whatever the whole is made of
    """The whole without its last part, the one before, and so on: what comes late matters less."""
    size = -(-len(whole) // parts)
    for start in reversed(range(0, len(whole), size)):
        yield whole[:start] + whole[start + size :]


def _is_broken(finding: Finding) -> bool:
    return finding.verdict.value == "FAIL"


def _key(firing: Firing) -> tuple[object, ...]:
    return (
        firing.kind,
        firing.site,
        firing.subject,
        firing.occurrence,
        firing.t_us if firing.is_timed else 0,
    )


def _nothing_broken(promise: str | None, broken: Sequence[Finding]) -> str:
    if promise is None:
        return "its plan breaks no promise in the simulator, so there is nothing to shrink"
    if promise not in PROMISE_NAMES:
        hint = did_you_mean(promise, PROMISE_NAMES)
        return f"unknown promise {promise!r}{hint} (see: lab list --promises)"
    names = ", ".join(found.name for found in broken) or "none"
    return f"its plan does not break {promise} in the simulator; it breaks: {names}"
