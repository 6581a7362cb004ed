"""What a journal says of a consumer: its rate, its order, what it lost and what it did again.

Pure functions of lines, so that they can be tested without a server or a peer.
Not here: who writes the lines (`workload.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Handling(NamedTuple):
    """A record that was handled to the end."""

    key: int
    number: int
    start_ns: int
    end_ns: int


class Journal(NamedTuple):
    """What stands in a journal: all that ended, and when each of the slow ones began."""

    handlings: tuple[Handling, ...]
    slow_ns: tuple[int, ...]


def read_journal(text: bytes) -> Journal:
    """The journal so far; a line that is not whole yet does not count.

    Raises:
        ValueError: a line is none that a `Work` writes.
    """
    handlings, slow = [], []
    for line in text.split(b"\n")[:-1]:
        words = line.split()
        match words[:1], [int(word) for word in words[1:]]:
            case [b"done"], [key, number, start_ns, end_ns]:
                handlings.append(Handling(key, number, start_ns, end_ns))
            case [b"slow"], [_, _, start_ns]:
                slow.append(start_ns)
            case _:
                raise ValueError(f"a journal has no line {line!r}")
    return Journal(tuple(handlings), tuple(slow))


def disorders(handlings: Iterable[Handling]) -> int:
    """Records that did not wait for the one before them under their key.

    Only the first time that each was handled counts: what comes again after a crash is a repeat,
    whatever had come in between. A record whose predecessor was never handled is none either: that
    one is lost.
    """
    first: dict[tuple[int, int], Handling] = {}
    for one in sorted(handlings, key=lambda handling: handling.end_ns):
        first.setdefault((one.key, one.number), one)
    before = [(one, first.get((one.key, one.number - 1))) for one in first.values()]
    return sum(1 for one, other in before if other is not None and one.start_ns < other.end_ns)


class Used(NamedTuple):
    """The processor time that all processes of a consumer used from one moment to another."""

    start_ns: int
    end_ns: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast a consumer was.

    Attributes:
        per_s: records a second, from the begin of the first one on.
        cpu_us: processor time of one record, in microseconds.
        handled: how many were counted.
        disorders: see `disorders`.
    """

    per_s: float
    cpu_us: float
    handled: int
    disorders: int


def judge_rate(handlings: Sequence[Handling], used: Used, *, window_ns: int, records: int) -> Rate:
    """The rate until all `records` are handled, or over the window if that ends sooner.

    Raises:
        ValueError: nothing was handled in the window, or while processor time was counted.
    """
    if not handlings:
        raise ValueError("nothing was handled: there is no rate")
    start_ns = min(one.start_ns for one in handlings)
    within = [one for one in handlings if one.end_ns <= start_ns + window_ns]
    if not within:
        raise ValueError(f"nothing was handled within {window_ns / 1e9:g} s")
    is_all = len({(one.key, one.number) for one in within}) == records
    spent_ns = max(one.end_ns for one in within) - start_ns if is_all else window_ns
    meanwhile = sum(used.start_ns < one.end_ns <= used.end_ns for one in handlings)
    if not meanwhile:
        raise ValueError("nothing was handled while processor time was counted")
    return Rate(
        per_s=len(within) / spent_ns * 1e9,
        cpu_us=used.cpu_s / meanwhile * 1e6,
        handled=len(within),
        disorders=disorders(within),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What a consumer that was ended in the middle, and started again, has done in all.

    Attributes:
        lost: records that were never handled.
        again: handlings of a record that was handled already.
        exit_s: how long the end took, from the signal on.
        is_own: it ended by itself, and need not be killed.
    """

    lost: int
    again: int
    exit_s: float = 0.0
    is_own: bool = True


def judge_stop(
    handlings: Sequence[Handling], *, records: int, exit_s: float = 0.0, is_own: bool = True
) -> Stop:
    """Losses and repeats among `records` that were all published before the consumer began.

    Raises:
        ValueError: more was handled than was published.
    """
    handled = {(one.key, one.number) for one in handlings}
    if len(handled) > records:
        raise ValueError(f"{len(handled):,} records were handled, and {records:,} published")
    return Stop(
        lost=records - len(handled),
        again=len(handlings) - len(handled),
        exit_s=exit_s,
        is_own=is_own,
    )
