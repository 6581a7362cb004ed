"""The parts of a bench, by the short names that `--only` takes, and the choice of some of them.

A part is what is measured together: one figure or a few. Not here: measuring, and the figures.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from lab.did_you_mean import did_you_mean


class OnlyError(ValueError):
    """A name that is none of a part, or one of another bench."""


class BenchPart(NamedTuple):
    """One part.

    Attributes:
        name: short.
        about: its figures, in a few words.
        is_usual: measured also if nobody asks for it.
    """

    name: str
    about: str
    is_usual: bool = True


SIMULATED: Final = (
    BenchPart("order", "a simulated order, everything on"),
    BenchPart("core", "the same without history and checks, and beside its bare skeleton"),
    BenchPart("chaos", "the same under faults"),
    BenchPart("pace", "simulated time over real time"),
    BenchPart("seeds", "whole runs a second, many seeds"),
    BenchPart("runs", "runs of one order, one after the other"),
    BenchPart("bus", "the bus in memory alone, beside an asyncio.Queue"),
    BenchPart("cold", "two commands in a new process"),
    BenchPart("latency", "p50 to max of an order, in virtual time"),
    BenchPart("growth", "100,000 orders against 10,000; the same as --full", is_usual=False),
    BenchPart("patterns", "what each pattern costs", is_usual=False),
    BenchPart("sizes", "cost and memory by the number of orders; see --orders", is_usual=False),
)
REAL: Final = (
    BenchPart("kafka", "events handled, three hops"),
    BenchPart("postgres", "lives of orders"),
    BenchPart("redis", "keys deduplicated, keys claimed"),
    BenchPart("http", "orders posted"),
    BenchPart("run", "a whole run, and the latency of its orders; see --duration"),
    BenchPart("workers", "one and two members of each consumer group", is_usual=False),
)


def usual(parts: Sequence[BenchPart]) -> tuple[str, ...]:
    """The names of those that are measured if nobody asks for any."""
    return tuple(part.name for part in parts if part.is_usual)


def choose(
    given: Collection[str], parts: Sequence[BenchPart], others: Sequence[BenchPart]
) -> tuple[str, ...]:
    """The names of the parts to measure, in the order of the page.

    Args:
        given: what was asked for; nothing: the usual ones.
        parts: those that there are.
        others: those of the other bench, for the message.

    Raises:
        OnlyError: a name is unknown.
    """
    known = [part.name for part in parts]
    for name in given:
        if name not in known:
            raise OnlyError(_unknown(name, known, others))
    return tuple(name for name in known if name in given) if given else usual(parts)


def _unknown(name: str, known: Sequence[str], others: Sequence[BenchPart]) -> str:
    if any(name == part.name for part in others):
        other = "lab bench --real" if others is REAL else "lab bench without --real"
        return f"--only {name} is of {other}; here there are {', '.join(known)}"
    hint = did_you_mean(name, known)
    there_are = f"{' There' if hint else '; there'} are {', '.join(known)}"
    return f"--only knows no {name!r}{hint}{there_are}"
