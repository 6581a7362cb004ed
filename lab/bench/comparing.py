"""A bench beside an earlier one: what is better, what is worse, and what nobody can tell.

Two numbers differ when their spreads over the rounds do not touch. Ratios are compared, for they
are to a baseline of the same moment; values only where the goal is about the value. Not here: the
figures themselves (`figures`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from lab.bench.figures import READABLE, Figure
from lab.bench.interpreter import Machine

Change = Literal["better", "same", "worse", "lower", "higher", "unknown"]


class CompareError(ValueError):
    """A file that is no report of an earlier bench."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One figure then and now.

    Attributes:
        name: of the figure.
        before, now: its ratio, or its value if its goal is about that.
        change: `same` if the spreads touch; `lower` or `higher` where no goal says what is good;
            `unknown` of what was measured once, which has no spread.
        by: now / before.
    """

    name: str
    before: float
    now: float
    change: Change
    by: float


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an earlier report that is compared."""

    schema_version: int
    lab: str
    machine: Machine
    figures: tuple[Figure, ...]


_decode: Final = msgspec.json.Decoder(Earlier).decode


def read_earlier(path: Path, figures: Sequence[Figure]) -> Earlier:
    """The report in a file, as `lab bench --json` printed it.

    Args:
        path: of the file.
        figures: those that will be measured.

    Raises:
        CompareError: there is none that can be read, or it has none of the figures.
    """
    try:
        earlier = _decode(path.read_bytes())
    except OSError as error:
        raise CompareError(f"{path} cannot be read ({error.strerror})") from error
    except msgspec.MsgspecError as error:
        raise CompareError(
            f"{path} is no report of a bench ({error}); one is made by lab bench --json"
        ) from error
    if earlier.schema_version not in READABLE:
        raise CompareError(
            f"{path} is of another version ({earlier.schema_version}, not "
            f"{' or '.join(map(str, READABLE))}): measure once more with the older lab's own bench"
        )
    if not {one.name for one in earlier.figures} & {one.name for one in figures}:
        raise CompareError(
            f"{path} has none of the figures: is it the one of --real, or of another --only?"
        )
    return earlier


def compare(earlier: Sequence[Figure], figures: Sequence[Figure]) -> tuple[Compared, ...]:
    """Every figure that was measured both times."""
    before = {figure.name: figure for figure in earlier}
    return tuple(_compared(before[now.name], now) for now in figures if now.name in before)


def left_out(earlier: Sequence[Figure], figures: Sequence[Figure]) -> tuple[str, ...]:
    """The names of the earlier figures that are not among these: nothing is known of them now."""
    now = {figure.name for figure in figures}
    return tuple(figure.name for figure in earlier if figure.name not in now)


def _compared(then: Figure, now: Figure) -> Compared:
    was, has = _number(then), _number(now)
    return Compared(
        name=now.name, before=was, now=has, change=_change(then, now), by=has / was if was else 0.0
    )


def _number(figure: Figure) -> float:
    of_value = figure.goal is not None and figure.goal.of == "value"
    return figure.value if of_value else figure.ratio


def _change(then: Figure, now: Figure) -> Change:
    if then.low == then.high or now.low == now.high:
        return "unknown"
    is_lower, is_higher = now.high < then.low, now.low > then.high
    if not (is_lower or is_higher):
        return "same"
    if now.goal is None:
        return "lower" if is_lower else "higher"
    return "better" if is_lower is (now.goal.bound == "at most") else "worse"
