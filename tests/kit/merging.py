"""A history as it is gathered from many witnesses: each in its own order, merged by clocks.

A simulated run writes one list in the order in which things happened. In a real run each process
has a file, and servers are asked at the end; what is merged from them keeps the order of each
witness, and nothing else. Here the one is made of the other.
"""

import random  # noqa: TID251 - decides nothing but the order of entries that tests look at
from collections.abc import Callable, Iterator, Sequence

from lab.history.entries import FACTS, Entry, kind_of, time_of
from lab.history.facts import AppendedEntry, CommittedEntry
from lab.history.journal import merged

_OF_THE_RUN = ("fault", "phase", "life", "failed", "left", "order_truth", "revenue_truth")
GATHERED = frozenset(kind for kind in FACTS if kind not in _OF_THE_RUN)
"""Facts that servers are asked for; what the run itself tells is written as it happens."""

MS = 1_000
CLOCKS_APART_US = 11 * MS
"""How far apart two of the clocks may be by which a history is merged here."""

Merge = Callable[[Sequence[Entry], int], list[Entry]]


def witness(entry: Entry) -> object:
    """Whose order an entry belongs to."""
    kind, _, process, *_ = entry
    if kind == "appended":
        record = AppendedEntry._make(entry)
        return (record.topic, record.partition)
    if kind == "committed":
        return CommittedEntry._make(entry).group
    return "run" if kind in ("fault", "phase", "life", "left") else process


def by_witness(entries: Sequence[Entry]) -> dict[object, list[Entry]]:
    """The entries of each witness, in its order."""
    found: dict[object, list[Entry]] = {}
    for entry in entries:
        found.setdefault(witness(entry), []).append(entry)
    return found


def clocks_apart(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """Clocks of servers are up to 5 ms off, and the bus tells whole milliseconds."""
    chance = random.Random(seed)
    sources = by_witness(entries)
    off_us = {who: chance.randint(-5 * MS, 5 * MS) for who in sorted(sources, key=str)}
    return list(
        merged(
            [
                [_told(entry, off_us[who]) for entry in told]
                for who, told in sorted(sources.items(), key=lambda item: str(item[0]))
            ]
        )
    )


def late_by_chance(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """Each entry stands up to 5 ms too early or too late, calls of processes too."""
    chance = random.Random(seed)
    ranked: list[tuple[int, int, Entry]] = []
    for told in by_witness(entries).values():
        rank = 0
        for entry in told:
            rank = max(rank, time_of(entry) + chance.randint(-5 * MS, 5 * MS))
            ranked.append((rank, chance.randrange(2**30), entry))
    keys: dict[object, tuple[int, int]] = {}
    ordered = []
    for rank, tie, entry in ranked:
        # Entries of one witness at one instant stay together, in their order.
        before = keys.get(witness(entry), (-1, 0))
        key = before if before[0] == rank else (rank, tie)
        keys[witness(entry)] = key
        ordered.append((key, entry))
    ordered.sort(key=lambda pair: pair[0])
    return [entry for _, entry in ordered]


def facts_last(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """What servers know is asked for when all is over; of which server first is chance."""
    calls = [entry for entry in entries if kind_of(entry) not in GATHERED]
    facts = list(by_witness([entry for entry in entries if kind_of(entry) in GATHERED]).values())
    random.Random(seed).shuffle(facts)
    return [*calls, *(entry for told in facts for entry in told)]


def _told(entry: Entry, off_us: int) -> Entry:
    kind, _, *others = entry
    t_us = time_of(entry)
    if kind not in GATHERED:
        return entry
    if kind in ("appended", "committed"):
        return (kind, (t_us + off_us) // MS * MS, *others)
    return (kind, t_us + off_us, *others)


MERGES: tuple[Merge, ...] = (clocks_apart, late_by_chance, facts_last)


def batches(entries: Sequence[Entry], size: int = 2_048) -> Iterator[Sequence[Entry]]:
    """The entries as a recorder hands them on."""
    for start in range(0, len(entries), size):
        yield entries[start : start + size]
