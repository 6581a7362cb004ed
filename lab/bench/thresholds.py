"""Thresholds that a person sets to a bench, such as `p99<200ms` or `orders/s>500`.

A name is one of the latency's, or that of a figure: then a number with the figure's unit is about
its value, one without is about its ratio. Not here: the exit code of a missed one (`lab.cli`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from lab.bench.figures import Figure
from lab.bench.latency import Latency
from lab.did_you_mean import did_you_mean

_FORM: Final = re.compile(
    r"(?P<name>[^<>=]+?)\s*(?P<side>[<>])\s*(?P<limit>[0-9]+(\.[0-9]+)?)\s*(?P<unit>\S*)"
)
_TO_MS: Final[Mapping[str, float]] = {"us": 0.001, "ms": 1.0, "s": 1_000.0}
_SPELLED: Final[Mapping[str, str]] = {"/s": "1/s"}
LENGTHS: Final = ("p50", "p95", "p99", "max")
PER_SECOND: Final = "orders/s"


class ThresholdError(ValueError):
    """A threshold that cannot be read, or that is about nothing that was measured."""


class Threshold(NamedTuple):
    """A limit; see `read_threshold`."""

    text: str
    name: str
    side: Literal["<", ">"]
    limit: float
    unit: str


class ThresholdMet(msgspec.Struct, frozen=True, kw_only=True):
    """How a measured number stands to a threshold.

    Attributes:
        threshold: as it was given.
        measured: the number, in the unit that the threshold has.
        reached: whether it is on the right side.
    """

    threshold: str
    measured: float
    reached: bool


class Measured(NamedTuple):
    """What will be measured, and what will not.

    Attributes:
        figures: those that will be measured.
        others: the other figures of this bench.
        latency_part: which part has the latency, if it is left out; "": it is measured.
    """

    figures: Sequence[Figure]
    others: Sequence[Figure] = ()
    latency_part: str = ""


def read_threshold(text: str, measured: Measured) -> Threshold:
    """A threshold as people write it.

    Args:
        text: `NAME<NUMBER[UNIT]` or with `>`.
        measured: what it can be about.

    Raises:
        ThresholdError: it is none, or about what will not be measured: it could never be missed.
            The message names the remedy.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ThresholdError(
            f"{text!r} is no threshold: NAME<NUMBER or NAME>NUMBER, such as 'p99<200ms'"
        )
    name, unit = found["name"], _SPELLED.get(found["unit"], found["unit"])
    _check_measured(text, name, measured)
    if name in LENGTHS:
        if unit not in _TO_MS:
            raise ThresholdError(f"{text!r} needs a unit: us, ms or s")
    elif name == PER_SECOND:
        if unit:
            raise ThresholdError(f"{text!r}: orders/s has no unit of its own; leave out {unit!r}")
    else:
        _check_figure(text, name, unit, measured)
    side: Literal["<", ">"] = "<" if found["side"] == "<" else ">"
    return Threshold(text.strip(), name, side, float(found["limit"]), unit)


def _check_measured(text: str, name: str, measured: Measured) -> None:
    """What there is, but is left out this time, is no typing mistake."""
    parts = {figure.name: figure.part for figure in measured.others}
    if measured.latency_part:
        parts |= dict.fromkeys((*LENGTHS, PER_SECOND), measured.latency_part)
    if name in parts:
        raise ThresholdError(
            f"{text!r} is about what is not measured this time: --only must name {parts[name]}"
        )


def _check_figure(text: str, name: str, unit: str, measured: Measured) -> None:
    of = {figure.name: figure for figure in measured.figures}
    if name not in of:
        latency = () if measured.latency_part else (*LENGTHS, PER_SECOND)
        known = (*latency, *of)
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise ThresholdError(f"nothing that is measured is called {name!r}{hint}")
    if unit not in ("", of[name].unit):
        raise ThresholdError(
            f"{text!r}: {name} is measured in {of[name].unit}; a number without a unit is about "
            "its ratio"
        )


def meet(
    thresholds: Iterable[Threshold], figures: Sequence[Figure], latency: Latency | None
) -> tuple[ThresholdMet, ...]:
    """How the measured numbers stand to the thresholds."""
    of = {figure.name: figure for figure in figures}
    return tuple(_met(one, _measured(one, of, latency)) for one in thresholds)


def _met(threshold: Threshold, measured: float) -> ThresholdMet:
    is_below, is_above = measured < threshold.limit, measured > threshold.limit
    reached = is_below if threshold.side == "<" else is_above
    return ThresholdMet(threshold=threshold.text, measured=measured, reached=reached)


def _measured(threshold: Threshold, of: Mapping[str, Figure], latency: Latency | None) -> float:
    if threshold.name in LENGTHS:
        assert latency is not None, "a threshold about what is left out is refused when it is read"
        length_ms: float = getattr(latency, f"{threshold.name}_ms")
        return length_ms / _TO_MS[threshold.unit]
    if threshold.name == PER_SECOND:
        assert latency is not None, "as above"
        return latency.orders_per_s
    figure = of[threshold.name]
    return figure.value if threshold.unit else figure.ratio
