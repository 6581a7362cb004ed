"""Folds over facts, entry by entry: rows, records, ledgers, the run, and the client's requests.

One method a kind of entry; it notes and does not judge. Not here: calls of processes
(`call_folds`, `delivery_folds`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.checks.order_case import Packed
from lab.checks.order_cases import Casebook
from lab.checks.partition_track import Tracks
from lab.checks.tables import (
    CANCEL,
    CLAIM_GONE,
    CUT_OFF,
    DEDUPE_OUTAGE,
    LEASE_CUT,
    LOOK,
    OUTAGES,
    POISON,
    REFUSALS,
    SHED,
)
from lab.history.calls import RedrivenEntry
from lab.history.entries import maker
from lab.history.facts import (
    AnsweredEntry,
    AppendedEntry,
    CommittedEntry,
    FaultEndEntry,
    FaultEntry,
    HttpKeyEntry,
    IntentEntry,
    LedgerEntry,
    LeftEntry,
    LetterEntry,
    OrderTruthEntry,
    OutcomeEntry,
    PhaseEntry,
    RevenueEntry,
    RevenueTruthEntry,
    RowEntry,
    WaitingEntry,
)
from lab.history.requests import HttpBeginEntry, HttpEndEntry, ShownEntry

Fold = Callable[[Any], None]
"""Takes an entry of the kind that it is registered for.

Most folds are handed the named tuple of the kind. A hot fold is called so often that an object for
each entry would be felt: it is handed the plain tuple, which has the same fields, unpacks it in its
first line, and makes the named tuple only if it needs one.
"""

_appended: Final = maker(AppendedEntry)
_answered: Final = maker(AnsweredEntry)

_BACK_US: Final = 5_000_000
"""A server that is back is not reached at once by everybody."""

_SPELL_US: Final = 100_000
"""Refusals are remembered by spells of time: a run may have very many."""


class Ask:
    """The requests under one Idempotency-Key, once there are two.

    Attributes:
        bodies: hash of the body, by order (`ordinal.send`). begun_us: when each was sent.
        answers: answers to any of them. created: the orders that got a row, and when.
        sheds: answers that shed one of them, each with the requests that the client waited for or
            had given up by then.
    """

    __slots__ = ("answers", "begun_us", "bodies", "created", "key", "sheds")

    def __init__(self, key: str) -> None:
        self.key = key
        self.bodies: dict[str, str] = {}
        self.begun_us: dict[str, int] = {}
        self.answers: tuple[HttpEndEntry, ...] = ()
        self.created: dict[str, int] = {}
        self.sheds: tuple[tuple[HttpEndEntry, int], ...] = ()


class FactFolds:
    """Fills cases and tracks.

    Attributes:
        asks: requests that came more than once under their key, by key.
        left: counts of leftovers at the end, by `LeftEntry.what`.
        revenue: sum of what was added, by currency. stored_revenue: what the store has at the end.
        repeats: injected repetitions of a delivery, by order. cancels: the same of cancellations.
        outages: of broker and order store: from and (None: it still is) until.
        dedupe_outages: likewise of the dedupe store.
        is_struck: a fault has struck some process as a whole, or a handler.
        cuts: members of a group were cut off from the broker: the group, from and until.
    """

    def __init__(self, book: Casebook, tracks: Tracks) -> None:
        self._book = book
        self._open = book.open
        self._tracks = tracks
        self._topics = tracks.topics
        self._keys: dict[str, str] = {}
        self._asked: dict[str, Ask] = {}
        self.asks: dict[str, Ask] = {}
        self.left: dict[str, list[LeftEntry]] = {}
        self.revenue: dict[str, int] = {}
        self.stored_revenue: dict[str, int] = {}
        self.repeats: dict[str, int] = {}
        self.cancels: dict[str, int] = {}
        self.outages: list[tuple[int, int | None]] = []
        self.dedupe_outages: list[tuple[int, int | None]] = []
        self._claims_gone: set[str] = set()
        self._leases_cut: set[str] = set()
        self._out: dict[tuple[str, str], int] = {}
        self.cuts: list[tuple[str, int, int]] = []
        self._refused: dict[tuple[str, int], None] = {}
        self._in_hand = 0
        self.is_struck = False

    def folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as their type."""
        return {
            "http.begin": self._http_begin,
            "http.end": self._http_end,
            "shown": self._shown,
            "row": self._row,
            "outcome": self._outcome,
            "intent": self._intent,
            "revenue": self._revenue,
            "http_key": self._http_key,
            "waiting": self._waiting,
            "letter": self._letter,
            "ledger": self._ledger,
            "redriven": self._redriven,
            "order_truth": self._order_truth,
            "revenue_truth": self._revenue_truth,
            "phase": self._phase,
            "left": self._left,
            "fault": self._fault,
            "fault_end": self._fault_end,
        }

    def hot_folds(self) -> Mapping[str, Fold]:
        """The fold for the entries of each kind, as plain tuples."""
        return {
            "appended": self._appended,
            "committed": self._committed,
            "answered": self._answered,
        }

    def forget(self, packed: Packed) -> None:
        """An order is forgotten; so is its key."""
        self._keys.pop(packed.key, None)

    # ---- the client

    def _http_begin(self, entry: HttpBeginEntry) -> None:
        if entry.op != "create":
            self._book.case(entry.subject).cancel_begun += (entry,)
            return
        subject, key = entry.subject, entry.key
        self._in_hand += 1
        case = self._book.case(subject)
        case.begun += (entry,)
        if key:
            first = self._keys.setdefault(key, subject)
            if first != subject:
                ask = self._asked[subject] = self._ask(key, first)
                ask.bodies[subject] = entry.body_sha256
                ask.begun_us[subject] = entry.t_us
                if case.rows:
                    ask.created[subject] = case.rows[0].t_us

    def _ask(self, key: str, first: str) -> Ask:
        ask = self.asks.get(key)
        if ask is None:
            ask = self.asks[key] = self._asked[first] = Ask(key)
            case = self._book.case(first)
            ask.bodies[first] = case.begun[0].body_sha256 if case.begun else ""
            ask.begun_us[first] = case.begun[0].t_us if case.begun else 0
            ask.answers = case.answers
            if case.rows:
                ask.created[first] = case.rows[0].t_us
        return ask

    def _http_end(self, entry: HttpEndEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        if entry.op == "create":
            case.answers += (entry,)
            self._in_hand -= entry.status > 0
            if entry.key in self.asks:
                ask = self.asks[entry.key]
                ask.answers += (entry,)
                if entry.problem == SHED:
                    ask.sheds += ((entry, self._in_hand),)
            return
        case.cancel_answers += (entry,)
        if entry.status == 200:
            case.cancels += (entry,)

    def _shown(self, entry: ShownEntry) -> None:
        self._book.case(entry.subject).shown += (entry,)

    # ---- the order store

    def _row(self, entry: RowEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.rows += (entry,)
        if entry.version == 1 and subject in self._asked:
            self._asked[subject].created[subject] = entry.t_us

    def _outcome(self, entry: OutcomeEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.outcomes += (entry,)

    def _intent(self, entry: IntentEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.intents += (entry,)

    def _revenue(self, entry: RevenueEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.revenue += (entry,)
        self.revenue[entry.currency] = self.revenue.get(entry.currency, 0) + entry.amount_cents

    def _http_key(self, entry: HttpKeyEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.http_keys += (entry,)

    def _order_truth(self, entry: OrderTruthEntry) -> None:
        self._book.case(entry.subject).truth += (entry,)

    def _revenue_truth(self, entry: RevenueTruthEntry) -> None:
        self.stored_revenue[entry.currency] = entry.amount_cents

    def _waiting(self, entry: WaitingEntry) -> None:
        self._book.case(entry.subject).waiting += (entry,)

    # ---- the bus and the third parties

    def _appended(self, entry: AppendedEntry) -> None:
        (
            _,
            _,
            _,
            subject,
            topic,
            partition,
            offset,
            event_id,
            _,
            digest,
            _,
            traceparent,
            cause_id,
            *_,
        ) = entry
        self._topics[topic, partition].append(offset, digest, entry)
        case = self._open.get(subject) or self._book.case(subject)
        if "." in topic:
            case.parked += (_appended(entry),)
        elif event_id not in case.published:
            case.published[event_id] = _appended(entry)
        else:
            first = case.published[event_id]
            same = (digest, partition, topic, traceparent, cause_id)
            if first is None or same != (
                first.digest,
                first.partition,
                first.topic,
                first.traceparent,
                first.cause_id,
            ):
                case.copies += (_appended(entry),)

    def _letter(self, entry: LetterEntry) -> None:
        self._book.case(entry.subject).letters += (entry,)

    def _committed(self, entry: CommittedEntry) -> None:
        _, t_us, _, _, group, topic, partition, position, epoch, accepted = entry
        if accepted:
            self._tracks[group, topic, partition].commit(position, epoch, t_us)

    def _ledger(self, entry: LedgerEntry) -> None:
        subject = entry.subject
        case = self._open.get(subject) or self._book.case(subject)
        case.ledger += (entry,)

    def _answered(self, entry: AnsweredEntry) -> None:
        _, _, _, subject, _, _, _, _, _, _ = entry
        case = self._open.get(subject) or self._book.case(subject)
        case.answered += (_answered(entry),)

    # ---- the operator

    def _redriven(self, entry: RedrivenEntry) -> None:
        self._book.case(entry.subject).redriven += (entry,)

    # ---- the run

    def _phase(self, entry: PhaseEntry) -> None:
        if entry.name == "end":
            self._book.has_ended = True
        elif entry.name == "heal":
            self.cuts = [
                (group, since, min(until, entry.t_us)) for group, since, until in self.cuts
            ]

    def _fault(self, entry: FaultEntry) -> None:
        kind, site, t_us = entry.kind_of_fault, entry.site, entry.t_us
        self.is_struck |= kind.startswith("proc.")
        if kind in CLAIM_GONE:
            self._claims_gone.add(site.partition("-")[0])
            if kind == LEASE_CUT:
                self._leases_cut.add(site.partition("-")[0])
        # Faults that give an event more attempts than one record copy may have.
        if kind in ("bus.duplicate", "bus.drop_ack"):
            self.repeats[entry.subject] = self.repeats.get(entry.subject, 0) + 1
        elif kind == CANCEL:
            self.cancels[entry.subject] = self.cancels.get(entry.subject, 0) + 1
        elif (kind in OUTAGES or kind == DEDUPE_OUTAGE) and (kind, site) not in self._out:
            outages = self._outages_of(kind)
            self._out[kind, site] = len(outages)
            outages.append((t_us, None))
        elif kind == CUT_OFF:
            self.cuts.append((site, t_us, t_us + entry.lasts_us))
        elif kind == POISON and entry.subject:
            self._book.case(entry.subject).poisoned += (site,)
        elif kind == LOOK:
            self._book.has_lookers = True
        elif kind in REFUSALS:
            self._refused[site, t_us // _SPELL_US] = None

    def _fault_end(self, entry: FaultEndEntry) -> None:
        place = self._out.pop((entry.kind_of_fault, entry.site), None)
        if place is not None:
            outages = self._outages_of(entry.kind_of_fault)
            outages[place] = (outages[place][0], entry.t_us)

    def _outages_of(self, kind: str) -> list[tuple[int, int | None]]:
        return self.dedupe_outages if kind == DEDUPE_OUTAGE else self.outages

    def _left(self, entry: LeftEntry) -> None:
        self.left.setdefault(entry.what, []).append(entry)

    def was_out(self, group: str, from_us: int, until_us: int) -> bool:
        """Whether the group could not reach broker or order store for a part of that time."""
        cut = [(begun_us, ended_us) for of, begun_us, ended_us in self.cuts if of == group]
        return any(
            begun_us <= until_us and (ended_us is None or ended_us >= from_us)
            for begun_us, ended_us in (*self.outages, *cut)
        )

    def was_dedupe_out(self, from_us: int, until_us: int) -> bool:
        """Whether the dedupe store was out of reach for a part of that time, or just before."""
        return any(
            begun_us <= until_us and (ended_us is None or ended_us + _BACK_US >= from_us)
            for begun_us, ended_us in self.dedupe_outages
        )

    def was_claim_gone(self, group: str) -> bool:
        """Whether claims of a group may have been gone before their end, at any time."""
        return group in self._claims_gone or bool(self.dedupe_outages)

    def was_lease_cut(self, group: str) -> bool:
        """Whether a lease of a group may have been over before its end, at any time."""
        return group in self._leases_cut

    def was_refused(self, group: str, from_us: int, until_us: int) -> bool:
        """Whether the order store refused the group a call in about that time."""
        spells = range(from_us // _SPELL_US, until_us // _SPELL_US + 1)
        return any((group, spell) in self._refused for spell in spells)
