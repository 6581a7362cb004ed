"""Entries of a history by their names, for tests that look at what was written.

Not here: histories written by hand (`histories`).
"""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from lab.history.entries import KINDS, Entry, kind_of
from lab.history.recorder import Sink

E = TypeVar("E", bound=NamedTuple)

_KIND_OF: Final[dict[type[NamedTuple], str]] = {
    entry_type: kind for kind, entry_type in KINDS.items()
}


class Kept(Sink):
    """Keeps all entries of a run: `run(..., watch=kept)`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def take(self, batch: Sequence[Entry]) -> None:
        self.entries += batch


process_of: Final[Callable[[Entry], str]] = itemgetter(2)


def of_type(entries: Iterable[Entry], entry_type: type[E]) -> list[E]:
    """The entries of one kind as their type, in their order."""
    kind = _KIND_OF[entry_type]
    return [entry_type._make(entry) for entry in entries if kind_of(entry) == kind]


def own_fields(entry: Entry) -> tuple[object, ...]:
    """The fields of its kind, without the four that every entry has."""
    _, _, _, _, *own = entry
    return tuple(own)


def without_time(entry: Entry) -> Entry:
    """The entry without its time."""
    kind, _, *others = entry
    return (kind, *others)
