"""The table of everything that a run can reach, and what one run reached of it, by its history.

States and transitions of orders, topics, retry tiers, reasons of dead letters, deeds of patterns,
kinds of faults with their sites and words. `tests/soak.py` counts them over seeds,
`tests/sim/test_reached.py` holds the catalogue at "everything reached".

Not here: goals, which a scenario has for itself (`lab.checks.verdict`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from lab.checks.run_numbers import DEEDS, Acted
from lab.checks.tables import NEXT, THIRD_PARTIES
from lab.domain.events import READS, TOPICS, topics_of
from lab.domain.order import OrderState
from lab.faults.plan.plan import Firing
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import ParamType
from lab.faults.table.spec import FaultSpec
from lab.history.calls import ActedEntry, BreakerEntry, BuriedEntry, RetryingEntry
from lab.history.entries import Entry, kind_of
from lab.history.facts import AppendedEntry, RowEntry
from lab.history.recorder import Sink
from lab.ports.bus import dead_letter_topic, retry_topic
from lab.settings import SIMULATED, settings_for

NOTES: Final = (
    ("validation", "stale"),
    ("validation", "expired"),
    ("payment", "stale"),
    ("payment", "expired"),
    ("orders", "stale"),
)
"""No-ops of the services: the order had moved on, or its time was over."""

REASONS: Final = ("exhausted", "permanent", "poison", "starts")

UNREACHABLE: Final[Mapping[str, str]] = {
    "orders: dead letter, permanent": "its handler asks no third party, so nobody refuses for good",
    "orders: stale": "the done row is committed with CONFIRMED, and looked at before it runs",
}
"""Names that no run within the contract reaches, each with its reason."""


@cache
def all_names() -> tuple[str, ...]:
    """Everything that there is to reach, in the order of the table."""
    return tuple(dict.fromkeys(_names()))


def _names() -> Iterator[str]:
    tiers = range(1, len(settings_for(SIMULATED).many_us("retry.tiers_ms")) + 1)
    yield from (f"state {state}" for state in OrderState)
    yield from (_move(before, after) for before, all_after in NEXT.items() for after in all_after)
    yield from (f"topic {topic}" for topic in TOPICS)
    for group in READS:
        yield from (f"{group}: retry tier {tier}" for tier in tiers)
        yield from (f"{group}: dead letter, {reason}" for reason in REASONS)
        for topic in topics_of(group):
            yield from (f"topic {retry_topic(topic, group, tier)}" for tier in (0, *tiers))
            yield f"topic {dead_letter_topic(topic, group)}"
    yield from (f"{pattern}: {deed}" for pattern, deeds in DEEDS.items() for deed in deeds)
    yield from (f"{group}: {what}" for group, what in NOTES)
    yield from (f"breaker: {name} open" for name in sorted(THIRD_PARTIES))
    for kind in KINDS.values():
        if kind.beyond_contract:
            continue
        yield kind.name
        yield from (f"{kind.name}@{site}" for site in kind.sites)
        for param in kind.params:
            if param.type is ParamType.WORD:
                allowed = [each for each in param.choices if each not in param.beyond_contract]
                yield from (f"{kind.name} {param.name}={choice}" for choice in allowed)


def names_of_faults(specs: Sequence[FaultSpec]) -> tuple[str, ...]:
    """The names of what was asked for: kinds, sites, words."""
    asked: dict[str, None] = {}
    for spec in specs:
        asked[spec.kind] = None
        asked |= {f"{spec.kind}@{site}": None for site in spec.sites or (spec.process,)}
        asked |= {f"{spec.kind} {name}={value}": None for name, value in spec.params.items()}
    return tuple(name for name in all_names() if name in asked)


class Reached(Sink):
    """The names that one run reached: watches its entries, then is told its numbers and firings."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._states: dict[str, str] = {}
        self._folds: dict[str, Callable[[Entry], str]] = {
            "row": self._row,
            "appended": _appended,
            "retrying": _retrying,
            "buried": _buried,
            "acted": _acted,
            "breaker": _breaker,
        }

    def take(self, batch: Sequence[Entry]) -> None:
        folds = self._folds
        for entry in batch:
            fold = folds.get(kind_of(entry))
            if fold is not None:
                self._found[fold(entry)] = None

    def names(self, acted: Acted, firings: Sequence[Firing]) -> tuple[str, ...]:
        """Everything of the table that was reached, in its order."""
        found = {*self._found}
        found |= {f"{pattern}: {deed}" for pattern, deeds in acted.acted.items() for deed in deeds}
        for firing in firings:
            found |= {firing.kind, f"{firing.kind}@{firing.site}"}
            found |= {f"{firing.kind} {name}={value}" for name, value in firing.params.items()}
        return tuple(name for name in all_names() if name in found)

    def _row(self, entry: Entry) -> str:
        row = RowEntry._make(entry)
        before = self._states.get(row.subject, "")
        self._states[row.subject] = row.state
        self._found[f"state {row.state}"] = None
        return _move(before, row.state)


def _move(before: str, after: str) -> str:
    return f"{before or 'nothing'} -> {after}"


def _appended(entry: Entry) -> str:
    return f"topic {AppendedEntry._make(entry).topic}"


def _retrying(entry: Entry) -> str:
    retrying = RetryingEntry._make(entry)
    return f"{retrying.group}: retry {retrying.where.replace('.', ' ')}"


def _buried(entry: Entry) -> str:
    buried = BuriedEntry._make(entry)
    return f"{buried.group}: dead letter, {buried.reason}"


def _acted(entry: Entry) -> str:
    acted = ActedEntry._make(entry)
    return f"{acted.pattern}: {acted.what}"


def _breaker(entry: Entry) -> str:
    breaker = BreakerEntry._make(entry)
    return f"breaker: {breaker.dependency} {breaker.state}"
