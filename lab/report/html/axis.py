"""From a moment or a number to a place: linear axes, logarithmic ones, and time with cuts.

Not here: what is drawn there.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

CUT_PERCENT: Final = 6.0
CUT_FROM: Final = 0.15
CUTS_TOGETHER: Final = 0.8
"""Stretches in which nothing begins or ends are cut if each is that part of the whole time, and
all of them are so much of it that the rest could not be told apart."""
CUTS_MAX: Final = 5
_DAY_S: Final = 86_400
_LONG_STEPS_S: Final = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, _DAY_S)


def nice_step(span: float, steps: int) -> float:
    """A round step that makes so many of `span` or fewer: 1, 2 or 5 times a power of ten."""
    if span <= 0:
        return 1.0
    rough = span / max(steps, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)


def time_step(span_us: float, steps: int) -> float:
    """A round step of time: as `nice_step` up to half a minute, above in minutes, hours, days."""
    step = nice_step(span_us / 1_000_000, steps)
    if step > _LONG_STEPS_S[0] / 2:
        step = next((long for long in _LONG_STEPS_S if long * steps >= span_us / 1_000_000), 0)
    if not step:
        step = nice_step(span_us / 1_000_000 / _DAY_S, steps) * _DAY_S
    return step * 1_000_000


class Axis:
    """Numbers from 0 up to a round top, as heights from 0 to 1."""

    def __init__(self, highest: float, *, steps: int = 3) -> None:
        step = nice_step(max(highest, 1e-9), steps)
        self.top = step * max(math.ceil(highest / step - 1e-9), 1)
        self.ticks = [step * number for number in range(round(self.top / step) + 1)]

    def at(self, value: float) -> float:
        """The height of a value."""
        return min(max(value / self.top, 0.0), 1.0)


class LogAxis:
    """Positive numbers on a logarithmic scale, as heights from 0 to 1."""

    def __init__(self, lowest: float, highest: float) -> None:
        self._low = math.floor(math.log10(max(lowest, 1.0)))
        self._high = max(math.ceil(math.log10(max(highest, 1.0)) - 1e-9), self._low + 1)
        decades = range(self._low, self._high + 1)
        self.ticks = [10.0**power for power in decades if len(decades) < 6 or power % 2 == 0]

    def at(self, value: float) -> float:
        """The height of a value; what is below the scale lies at its bottom."""
        power = math.log10(value) if value > 0 else self._low
        return min(max((power - self._low) / (self._high - self._low), 0.0), 1.0)


class TimeAxis:
    """Moments as percent of a width; long stretches in which nothing happens may be cut out.

    Attributes:
        cuts: the stretches that were cut: begin and end.
    """

    def __init__(self, start_us: float, end_us: float, moments: Iterable[float] = ()) -> None:
        self.start_us = start_us
        self.end_us = max(end_us, start_us + 1)
        self.cuts = _cuts(self.start_us, self.end_us, moments)
        kept = self.end_us - self.start_us - sum(end - begin for begin, end in self.cuts)
        self._per_us = (100.0 - CUT_PERCENT * len(self.cuts)) / max(kept, 1)

    def at(self, t_us: float) -> float:
        """The place of a moment."""
        t_us = min(max(t_us, self.start_us), self.end_us)
        place, since = 0.0, self.start_us
        for begin, end in self.cuts:
            if t_us <= begin:
                break
            place += (begin - since) * self._per_us
            if t_us < end:
                return place + CUT_PERCENT * (t_us - begin) / (end - begin)
            place += CUT_PERCENT
            since = end
        return place + (t_us - since) * self._per_us

    def ticks(self, steps: int) -> list[float]:
        """Round moments since the start, none of them in a cut."""
        kept = self.end_us - self.start_us - sum(end - begin for begin, end in self.cuts)
        step = time_step(kept, steps)
        found, last = [], -100.0
        for begin, end in self._stretches():
            number = math.ceil((begin - self.start_us) / step - 1e-9)
            while (moment := self.start_us + number * step) <= end:
                if self.at(moment) - last >= 100.0 / steps * 0.45:
                    found.append(moment)
                    last = self.at(moment)
                number += 1
        return found

    def _stretches(self) -> list[tuple[float, float]]:
        edges = [self.start_us, *(edge for cut in self.cuts for edge in cut), self.end_us]
        return list(zip(edges[::2], edges[1::2], strict=True))


def _cuts(
    start_us: float, end_us: float, moments: Iterable[float]
) -> Sequence[tuple[float, float]]:
    between = {moment for moment in moments if start_us < moment < end_us}
    if not between:
        return ()
    edges = sorted({start_us, end_us, *between})
    span = end_us - start_us
    gaps = [(begin, end) for begin, end in pairwise(edges) if end - begin > CUT_FROM * span]
    if len(gaps) > CUTS_MAX or sum(end - begin for begin, end in gaps) < CUTS_TOGETHER * span:
        return ()
    return gaps
