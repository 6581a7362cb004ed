"""The causes outside of the system, as the plan of faults tells of them: who was struck, and when.

Not here: the meaning of a fault (`excuses`), and the answers of third parties (`order_case`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.excuses import CALLS, EXCUSES, Reach
from lab.checks.fact_folds import Fold
from lab.history.calls import StalledEntry
from lab.history.facts import FaultEndEntry, FaultEntry

_SPELL_US: Final = 1_000_000
"""Faults that strike one moment are remembered by spells of time: a run may have very many."""


class Causes:
    """Every firing of a run that may fail a handler.

    Attributes:
        strange: a kind of fault of which nobody knows the reach, "" if there is none.
    """

    def __init__(self) -> None:
        self.strange = ""
        self._of_order: dict[str, tuple[FaultEntry, ...]] = {}
        self._lasting: list[tuple[str, str, int, int | None]] = []
        self._spells: dict[tuple[str, int], None] = {}

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind."""
        return {"fault": self._fault, "fault_end": self._fault_end, "stalled": self._stalled}

    def take(self, subject: str) -> tuple[FaultEntry, ...]:
        """The firings that struck an order itself; they are forgotten here."""
        return self._of_order.pop(subject, ())

    def went_on(self, group: str, from_us: int, until_us: int) -> bool:
        """Whether in that time anything struck that may fail a run of the group, of any order."""
        if any(
            (site, spell) in self._spells
            for spell in range(from_us // _SPELL_US, until_us // _SPELL_US + 1)
            for site in (group, "")
        ):
            return True
        return any(
            site in (group, "") and begun_us <= until_us and (end_us is None or end_us >= from_us)
            for _, site, begun_us, end_us in self._lasting
        )

    def _fault(self, entry: FaultEntry) -> None:
        kind, subject, t_us = entry.kind_of_fault, entry.subject, entry.t_us
        reach = EXCUSES.get(kind)
        if reach is None:
            self.strange = self.strange or kind
            return
        if subject and reach is not Reach.NOTHING:
            self._of_order[subject] = (*self._of_order.get(subject, ()), entry)
        if reach is Reach.OUTAGE or reach is Reach.EVER_AFTER:
            end_us = t_us + entry.lasts_us if entry.lasts_us else None
            self._lasting.append((kind, _struck_group(entry.site), t_us, end_us))
        elif reach is Reach.MEANWHILE or (reach is Reach.ONE_RUN and not subject):
            for spell in range(t_us // _SPELL_US, (t_us + entry.lasts_us) // _SPELL_US + 1):
                self._spells[_struck_group(entry.site), spell] = None

    def _stalled(self, entry: StalledEntry) -> None:
        """A machine that stood still is no fault of the plan, and a cause all the same."""
        group = _struck_group(entry.process)
        self._lasting.append((entry.kind, group, entry.t_us - entry.for_us, entry.t_us))

    def _fault_end(self, entry: FaultEndEntry) -> None:
        ended = (entry.kind_of_fault, _struck_group(entry.site))
        self._lasting = [
            (
                kind,
                site,
                begun_us,
                entry.t_us if end_us is None and (kind, site) == ended else end_us,
            )
            for kind, site, begun_us, end_us in self._lasting
        ]


def _struck_group(site: str) -> str:
    """The group that a site belongs to; "" if it may be any: a server, a crash point, a topic."""
    group = site.partition("-")[0]
    return group if group in CALLS or group in ("api", "relay") else ""
