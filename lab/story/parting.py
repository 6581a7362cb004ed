"""Where two runs of one plan part: the first entry of an order at which they differ.

Entries are compared by what they say was done, not by times and ids. Things that go on beside each
other may come in any order, so each line of work (a service and the event in its hand, a kind of
fact) is compared with itself. What a pattern keeps for itself, such as claims and counts, is no
difference: what it leads to is. Not here: words (`told`).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from lab.history.entries import KINDS, Entry, kind_of
from lab.observe.process_view import service_of
from lab.story.told import Teller

_COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "http.begin": ("op", "send"),
    "http.end": ("op", "send", "status"),
    "publish.begin": ("topic",),
    "publish.end": ("topic", "result"),
    "deliver": ("group", "topic", "attempt"),
    "settle": ("group", "settlement", "why"),
    "handle.begin": ("group", "attempt"),
    "handle.end": ("group", "attempt", "result"),
    "call.begin": ("provider", "action"),
    "call.end": ("provider", "action", "result"),
    "commit.end": ("group", "result"),
    "retrying": ("group", "error_class", "where"),
    "buried": ("group", "reason"),
    "redriven": ("group", "answer"),
    "acted": ("pattern", "what"),
    "row": ("version", "state"),
    "revenue": ("group", "amount_cents"),
    "appended": ("topic",),
    "letter": ("topic", "reason"),
    "ledger": ("provider", "action", "amount_cents"),
    "fault": ("kind_of_fault", "site", "occurrence"),
    "failed": ("where", "error"),
}
"""The kinds that are compared, and the fields that must be equal; the type of the event too."""

Lane = tuple[str, ...]


FOLLOWING: Final = 3
"""So many deeds of each side are told, from the first that differs on."""


class Parting(NamedTuple):
    """The first difference.

    Attributes:
        one, other: places in the entries of both runs, from the first that differs on; empty on a
            side where nothing more happened in that line of work.
        before: the last place in the first run at which both did the same in this line of work.
    """

    one: tuple[int, ...]
    other: tuple[int, ...]
    before: int | None


class _Deed(NamedTuple):
    place: int
    t_us: int
    essence: tuple[object, ...]


def first_parting(one: Sequence[Entry], other: Sequence[Entry]) -> Parting | None:
    """Where the two part; None: they do the same throughout.

    Args:
        one: the entries of an order, in their order.
        other: those of the same order in another run.
    """
    mine, yours = _lanes(one), _lanes(other)
    found: list[tuple[tuple[int, int], Parting]] = []
    for lane in dict.fromkeys((*mine, *yours)):
        before: int | None = None
        left, right = mine.get(lane, []), yours.get(lane, [])
        for number, (here, there) in enumerate(zip_longest(left, right)):
            if here is not None and there is not None and here.essence == there.essence:
                before = here.place
                continue
            first = min((deed.t_us, deed.place) for deed in (here, there) if deed is not None)
            after = slice(number, number + FOLLOWING)
            parting = Parting(_places(left[after]), _places(right[after]), before)
            found.append((first, parting))
            break
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _places(deeds: Sequence[_Deed]) -> tuple[int, ...]:
    return tuple(deed.place for deed in deeds)


def _lanes(entries: Sequence[Entry]) -> dict[Lane, list[_Deed]]:
    lanes: dict[Lane, list[_Deed]] = {}
    for lane, deed in _deeds(entries):
        lanes.setdefault(lane, []).append(deed)
    return lanes


def _deeds(entries: Sequence[Entry]) -> Iterator[tuple[Lane, _Deed]]:
    teller = Teller(entries)
    in_hand: dict[str, str] = {}
    for place, entry in enumerate(entries):
        kind = kind_of(entry)
        fields = _COMPARED.get(kind)
        if fields is None:
            continue
        made: Any = KINDS[kind]._make(entry)
        event = _event(teller, made)
        if kind == "deliver":
            in_hand[made.process] = event
        essence = (kind, event, *(getattr(made, name) for name in fields))
        lane = _lane(kind, made, event or in_hand.get(made.process, ""))
        yield lane, _Deed(place, made.t_us, essence)


def _event(teller: Teller, made: Any) -> str:
    ids = getattr(made, "event_ids", None) or (getattr(made, "event_id", ""),)
    return ", ".join(teller.event(one) if one else "" for one in ids)


def _lane(kind: str, made: Any, event: str) -> Lane:
    """The line of work; a kind of fact is one of its own."""
    if made.process in ("store", "bus", "ledger", "run"):
        # Which line a fault struck is told by its site.
        return made.process, kind, getattr(made, "site", getattr(made, "provider", ""))
    if kind.startswith("call."):
        # Calls of one handler go on beside each other.
        return service_of(made.process), event, made.provider
    return service_of(made.process), event
