"""Broken promises of many runs, grouped: twenty seeds that break in one way are one finding.

Two witnesses have one shape if they differ in their numbers, ids and times alone. Not here: making
the runs (`search`).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from lab.report.result import Result

SEEDS_SHOWN: Final = 10
_ID: Final = re.compile(r"\b(?:[0-9a-f]{8}-[0-9a-f-]{27}|(?=[0-9a-f]*\d)[0-9a-f]{8,})\b")
_MEMBER: Final = re.compile(
    r"\b(api|relay|orders|validation|payment|notification)(?:-\d+)?(?:#\d+)?"
)
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_MANY: Final = re.compile(r"N(?:, N)+")


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that a run broke, with its first witness."""

    promise: str
    witness: str


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One run among many.

    Attributes:
        seed: of the run.
        verdict: PASS, FAIL or UNKNOWN.
        why: of an UNKNOWN.
        broken: in the order of the promises.
        reproduce: the command that runs it again.
    """

    seed: int
    verdict: str
    why: str
    broken: tuple[Break, ...]
    reproduce: str


class SearchFinding(msgspec.Struct, kw_only=True):
    """One way in which a promise breaks.

    Attributes:
        promise: its name.
        shape: of the witness, each number an N.
        witness: of the first seed.
        count: seeds that break so.
        seeds: the first of them.
        reproduce: the command that runs the first one again.
    """

    promise: str
    shape: str
    witness: str
    count: int
    seeds: list[int]
    reproduce: str


def summary_of(result: Result) -> Judged:
    """What a search wants to know of a run."""
    return Judged(
        seed=result.seed,
        verdict=result.verdict,
        why=result.why if result.verdict == "UNKNOWN" else "",
        broken=tuple(
            Break(promise=one.name, witness=one.witness)
            for one in result.checks
            if one.verdict == "FAIL"
        ),
        reproduce=result.reproduce,
    )


def shape_of(witness: str) -> str:
    """The witness without what is of its run alone.

    >>> shape_of("order 37: 2 captures, at 4.210s and 9.730s")
    'order N: N captures, at Ns and Ns'
    """
    text = _MEMBER.sub(r"\1", _ID.sub("N", witness))
    return _MANY.sub("N", _NUMBER.sub("N", text))


def add_to(found: list[SearchFinding], runs: Iterable[Judged]) -> None:
    """Count the broken promises of more runs, in the order of their seeds."""
    known = {(one.promise, one.shape): one for one in found}
    for run in runs:
        for broken in run.broken:
            shape = shape_of(broken.witness)
            one = known.get((broken.promise, shape))
            if one is None:
                one = known[broken.promise, shape] = SearchFinding(
                    promise=broken.promise,
                    shape=shape,
                    witness=broken.witness,
                    count=0,
                    seeds=[],
                    reproduce=run.reproduce,
                )
                found.append(one)
            one.count += 1
            if len(one.seeds) < SEEDS_SHOWN:
                one.seeds.append(run.seed)


def most_often_first(found: Sequence[SearchFinding]) -> list[SearchFinding]:
    """The findings as they are shown; of two as frequent, the one with the earlier seed first."""
    return sorted(found, key=lambda one: (-one.count, one.seeds[0], one.promise))
