"""The promise about the time that an order has: it expires then, and is not charged afterwards.

Not here: the states from which an order may expire, and the refund of a late capture (`orders`,
`money`).
"""

from collections.abc import Mapping
from typing import Final

from lab.checks.check import Check, Seen, seconds
from lab.checks.contract import Contract
from lab.checks.fact_folds import Fold
from lab.checks.order_case import Case
from lab.checks.process_life import group_of
from lab.checks.tables import MAY_EXPIRE, OUTAGES, WRITER
from lab.history.calls import StalledEntry
from lab.history.facts import FaultEndEntry, FaultEntry, LifeEntry, PhaseEntry

_LATE_US: Final = 10_000_000
"""So long the timer may take when nothing is in its way: many orders may be due at once."""

_STRUCK_US: Final = 10_000_000
"""A call to the store that a fault struck is behind the timer after so long, for sure."""


class ExpiryInTime(Check):
    """An order that nobody decided about expires when its time is up, by the store's clock.

    Not before, and not much later: what goes wrong in the meantime with the processes that have the
    timer, or with the store, is left out. A charge may be under way when the time is up, for as
    long as one call lasts; none is announced or sent after that. A third party that acts late is
    not the shop's to blame.
    """

    name = "expiry-in-time"
    sentence = (
        "an order expires when its time is up, neither sooner nor later, and is not charged then"
    )

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._late: list[tuple[Case, int, int | None]] = []
        self._troubles = _Troubles()

    def folds(self) -> Mapping[str, Fold]:
        return self._troubles.folds()

    def judge(self, case: Case) -> None:
        if not case.rows or case.is_revived:
            return
        contract = self.contract
        due_us = case.rows[0].t_us + contract.expiry_us
        leeway_us = contract.skew_us + contract.slack_us
        expired = None
        for row in case.rows:
            if row.state == "EXPIRED":
                expired = row
                break
        wrong = ""
        if expired is not None:
            self.checked += 1
            if expired.t_us < due_us - leeway_us:
                wrong = f"it expired {seconds(due_us - expired.t_us)} before its time"
            elif expired.t_us > due_us + leeway_us:
                self._late.append((case, due_us, expired.t_us))
        elif case.state in MAY_EXPIRE and case.has_ended:
            self._late.append((case, due_us, None))
        wrong = wrong or self._charged_late(case, due_us + leeway_us)
        if wrong:
            self.breaks(case, wrong)

    def conclude(self, seen: Seen) -> None:  # noqa: ARG002 - the shape of a check
        leeway_us = self.contract.skew_us + self.contract.slack_us + _LATE_US
        troubles = self._troubles
        for case, due_us, at_us in self._late:
            until_us = troubles.watched_until_us() if at_us is None else at_us
            if at_us is None:
                self.checked += until_us > due_us
            if until_us - max(due_us, troubles.last_us(until_us)) > leeway_us:
                late = seconds(until_us - due_us)
                what = "had not expired" if at_us is None else "expired"
                self.breaks(case, f"it {what} {late} after its time was up")

    def _charged_late(self, case: Case, until_us: int) -> str:
        """A charge that was announced, sent or executed when the order's time was up."""
        for intent in case.intents:
            if (
                intent.intent_kind == "charge"
                and intent.op in ("open", "raise")
                and intent.t_us > until_us
            ):
                return f"a charge was announced {seconds(intent.t_us - until_us)} after its expiry"
        until_us += self.contract.provider_us
        for sent in case.sent:
            if sent.action == "charge" and sent.t_us > until_us:
                return f"a charge was sent {seconds(sent.t_us - until_us)} after its expiry"
        for line in case.ledger:
            if line.action == "capture" and line.t_us > until_us:
                asked = [sent for sent in case.sent if sent.key == line.key]
                if not asked:
                    late = seconds(line.t_us - until_us)
                    return f"it was charged {late} after its expiry, and nobody had asked before"
        return ""


class _Troubles:
    """When something was in the way of the timer: in its processes, or in the order store.

    Any of its processes counts, although another one may have been well.
    """

    def __init__(self) -> None:
        self._over: list[tuple[int, int]] = []
        self._open: dict[str, int] = {}
        self._ended_us = 0

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as their type."""
        return {
            "life": self._life,
            "stalled": self._stalled,
            "fault": self._fault,
            "fault_end": self._fault_end,
            "phase": self._phase,
        }

    def last_us(self, until_us: int) -> int:
        """The last instant of trouble up to `until_us`, 0 if there was none."""
        if any(since_us <= until_us for since_us in self._open.values()):
            return until_us
        over = [min(end_us, until_us) for since_us, end_us in self._over if since_us <= until_us]
        return max(over, default=0)

    def watched_until_us(self) -> int:
        """The end of the run, or the beginning of a trouble that never ended."""
        return min([self._ended_us, *(since_us - 1 for since_us in self._open.values())])

    def _begin(self, name: str, t_us: int) -> None:
        self._open.setdefault(name, t_us)

    def _end(self, name: str, t_us: int) -> None:
        since_us = self._open.pop(name, None)
        if since_us is not None:
            self._over.append((since_us, t_us))

    def _life(self, entry: LifeEntry) -> None:
        if group_of(entry.process) != WRITER["EXPIRED"]:
            return
        name = entry.process.partition("#")[0]
        if entry.event in ("start", "resume"):
            self._end(name, entry.t_us)
        else:
            self._begin(name, entry.t_us)

    def _stalled(self, entry: StalledEntry) -> None:
        if group_of(entry.process) == WRITER["EXPIRED"]:
            self._over.append((entry.t_us - entry.for_us, entry.t_us))

    def _fault(self, entry: FaultEntry) -> None:
        kind, t_us = entry.kind_of_fault, entry.t_us
        if kind in OUTAGES:
            self._begin(f"{kind}@{entry.site}", t_us)
        elif kind.startswith("pg.") and group_of(entry.site) == WRITER["EXPIRED"]:
            self._over.append((t_us, t_us + max(entry.lasts_us, _STRUCK_US)))

    def _fault_end(self, entry: FaultEndEntry) -> None:
        self._end(f"{entry.kind_of_fault}@{entry.site}", entry.t_us)

    def _phase(self, entry: PhaseEntry) -> None:
        if entry.name == "end":
            self._ended_us = entry.t_us
