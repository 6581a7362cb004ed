"""Conditions that a fault has beside its coin: its window, and the state of a third party.

A provider that flaps is down for all callers, and a rate limit counts the calls of all processes.
So both are kept with the plan: they are functions of the time since the faults began and of the
calls until now.

Not here: coins and counts of visits (`plan.py`), and the effect of a fault (the injectors).
"""

from typing import Final

from lab.faults.table.spec import FaultSpec

SECOND_US: Final = 1_000_000


class Conditions:
    """The conditions of the faults at one site."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        # For each fault with a limit: the second, and the calls in it.
        self._calls: dict[int, tuple[int, int]] = {}

    def hold(self, number: int, spec: FaultSpec, now_us: int) -> bool:
        """Whether the fault may strike a visit that is made now. Counts the visit.

        Args:
            number: of the fault in its plan.
            spec: the fault.
            now_us: time since the faults began.
        """
        if now_us < spec.at_us or (spec.until_us is not None and now_us >= spec.until_us):
            return False
        since_us = now_us - spec.at_us
        if spec.kind == "svc.flapping":
            # Down first: a load that ends soon has met it.
            down_us, up_us = spec.number("down"), spec.number("up")
            return since_us % max(down_us + up_us, 1) < down_us
        return spec.kind != "svc.rate_limit" or self._is_over(number, spec, since_us)

    def _is_over(self, number: int, spec: FaultSpec, since_us: int) -> bool:
        present = since_us // SECOND_US
        second, calls = self._calls.get(number, (present, 0))
        calls = calls + 1 if second == present else 1
        self._calls[number] = (present, calls)
        return calls > spec.number("calls")


def is_conditional(spec: FaultSpec) -> bool:
    """Whether anything beside the coin decides; `hold` need not be called for other faults."""
    is_windowed = bool(spec.at_us) or spec.until_us is not None
    return is_windowed or spec.kind in ("svc.flapping", "svc.rate_limit")


def is_plain(spec: FaultSpec) -> bool:
    """Whether nothing but the rate decides: every order, every visit, however often."""
    is_chosen = spec.subjects is not None or spec.nth or spec.first or spec.every
    return not (is_chosen or spec.max_firings or is_conditional(spec))


def counts(spec: FaultSpec, occurrence: int) -> bool:
    """Whether `nth`, `first` or `every` choose this visit."""
    if spec.nth:
        return occurrence == spec.nth
    if spec.first:
        return occurrence <= spec.first
    return not spec.every or occurrence % spec.every == 0
