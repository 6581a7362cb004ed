"""What witnesses say, entry by entry: rows, records, ledgers, and the client's side of each order.

One method per kind of entry; each notes, none judges. Not here: what processes say of
themselves (`call_folds`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.checks.order_case import Packed
from lab.checks.order_cases import Casebook
from lab.checks.partition_track import Tracks
from lab.checks.tables import CUT_OFF, OUTAGES, REFUSALS
from lab.history import shapes

Fold = Callable[[Any], None]
"""Takes an entry of the kind that it was registered for."""

_SPELL_US: Final = 100_000
"""Refusals are remembered by spells of time: a run may have very many."""


class Ask:
    """What was asked for under one Idempotency-Key, once it was asked twice.

    Attributes:
        bodies: hash of the body, by order (`ordinal.send`).
        answers: answers to any of them. created: the orders that got a row.
    """

    __slots__ = ("answers", "bodies", "created", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.bodies: dict[str, str] = {}
        self.answers: tuple[shapes.HttpEnd, ...] = ()
        self.created: dict[str, None] = {}


class FactFolds:
    """Fills cases and tracks.

    Attributes:
        asks: requests that came more than once under their key, by key.
        left: what was looked at at the end, by what it is.
        repeats: injected repetitions of a delivery, by order.
        outages: of broker and order store: from and (None: it still is) until.
        cuts: members of a group were cut off from the broker: the group, from and until.
    """

    def __init__(self, book: Casebook, tracks: Tracks) -> None:
        self._book = book
        self._open = book.open
        self._tracks = tracks
        self._keys: dict[str, str] = {}
        self._asked: dict[str, Ask] = {}
        self.asks: dict[str, Ask] = {}
        self.left: dict[str, list[shapes.Left]] = {}
        self.repeats: dict[str, int] = {}
        self.outages: list[tuple[int, int | None]] = []
        self._out: dict[str, int] = {}
        self.cuts: list[tuple[str, int, int]] = []
        self._refused: dict[tuple[str, int], None] = {}

    def folds(self) -> Mapping[str, Fold]:
        """What to call with the entries of each kind."""
        return {
            "http.begin": self._http_begin,
            "http.end": self._http_end,
            "row": self._row,
            "outcome": self._outcome,
            "intent": self._intent,
            "revenue": self._revenue,
            "http_key": self._http_key,
            "waiting": self._waiting,
            "appended": self._appended,
            "committed": self._committed,
            "ledger": self._ledger,
            "redriven": self._redriven,
            "phase": self._phase,
            "left": self._left,
            "fault": self._fault,
            "fault_end": self._fault_end,
        }

    def forget(self, packed: Packed) -> None:
        """An order is forgotten; so is its key."""
        self._keys.pop(packed.key, None)

    # ---- the client

    def _http_begin(self, entry: shapes.HttpBegin) -> None:
        subject, key = entry[3], entry[5]
        if entry[4] != "create":
            return
        case = self._book.case(subject)
        case.begun += (entry,)
        if key:
            first = self._keys.setdefault(key, subject)
            if first != subject:
                ask = self._asked[subject] = self._ask(key, first)
                ask.bodies[subject] = entry[6]
                if case.rows:
                    ask.created[subject] = None

    def _ask(self, key: str, first: str) -> Ask:
        ask = self.asks.get(key)
        if ask is None:
            ask = self.asks[key] = self._asked[first] = Ask(key)
            case = self._book.case(first)
            ask.bodies[first] = case.begun[0][6] if case.begun else ""
            ask.answers = case.answers
            if case.rows:
                ask.created[first] = None
        return ask

    def _http_end(self, entry: shapes.HttpEnd) -> None:
        _, _, _, subject, op, key, _, _, status, _, _ = entry
        case = self._book.case(subject)
        if op == "create":
            case.answers += (entry,)
            if key in self.asks:
                self.asks[key].answers += (entry,)
        elif status == 200:
            case.cancels += (entry,)

    # ---- the order store

    def _row(self, entry: shapes.Row) -> None:
        subject = entry[3]
        case = self._open.get(subject) or self._book.case(subject)
        case.rows += (entry,)
        if entry[4] == 1 and subject in self._asked:
            self._asked[subject].created[subject] = None

    def _outcome(self, entry: shapes.Outcome) -> None:
        subject = entry[3]
        case = self._open.get(subject) or self._book.case(subject)
        case.outcomes += (entry,)

    def _intent(self, entry: shapes.Intent) -> None:
        subject = entry[3]
        case = self._open.get(subject) or self._book.case(subject)
        case.intents += (entry,)

    def _revenue(self, entry: shapes.Revenue) -> None:
        self._book.case(entry[3]).revenue += (entry,)

    def _http_key(self, entry: shapes.HttpKey) -> None:
        self._book.case(entry[3]).http_keys += (entry,)

    def _waiting(self, entry: shapes.Waiting) -> None:
        self._book.case(entry[3]).waiting += (entry,)

    # ---- the bus and the third parties

    def _appended(self, entry: shapes.Appended) -> None:
        subject = entry[3]
        case = self._open.get(subject) or self._book.case(subject)
        if "." in entry[4]:
            case.parked += (entry,)
        else:
            case.published.setdefault(entry[7], entry)

    def _committed(self, entry: shapes.Committed) -> None:
        if entry[9]:
            self._tracks[entry[4:7]].commit(entry[7], entry[8])

    def _ledger(self, entry: shapes.Ledger) -> None:
        subject = entry[3]
        case = self._open.get(subject) or self._book.case(subject)
        case.ledger += (entry,)

    # ---- the operator

    def _redriven(self, entry: shapes.Redriven) -> None:
        self._book.case(entry[3]).redriven += (entry,)

    # ---- the run

    def _phase(self, entry: shapes.Phase) -> None:
        if entry[4] == "end":
            self._book.has_ended = True
        elif entry[4] == "heal":
            self.cuts = [(group, since, min(until, entry[1])) for group, since, until in self.cuts]

    def _fault(self, entry: shapes.Fault) -> None:
        # Faults that give an event more attempts than one record copy may have.
        if entry[4] in ("bus.duplicate", "bus.drop_ack"):
            self.repeats[entry[3]] = self.repeats.get(entry[3], 0) + 1
        elif entry[4] in OUTAGES and entry[4] not in self._out:
            self._out[entry[4]] = len(self.outages)
            self.outages.append((entry[1], None))
        elif entry[4] == CUT_OFF:
            self.cuts.append((entry[5], entry[1], entry[1] + entry[7]))
        elif entry[4] in REFUSALS:
            self._refused[entry[5], entry[1] // _SPELL_US] = None

    def _fault_end(self, entry: shapes.FaultEnd) -> None:
        place = self._out.pop(entry[4], None)
        if place is not None:
            self.outages[place] = (self.outages[place][0], entry[1])

    def was_out(self, group: str, from_us: int, until_us: int) -> bool:
        """Whether the group could not reach broker or order store for a part of that time."""
        out = [span for span in self.outages if span[0] <= until_us]
        cut = [span[1:] for span in self.cuts if span[0] == group and span[1] <= until_us]
        return any(ended_us is None or ended_us >= from_us for _, ended_us in (*out, *cut))

    def was_refused(self, group: str, from_us: int, until_us: int) -> bool:
        """Whether the order store refused the group a call in about that time."""
        spells = range(from_us // _SPELL_US, until_us // _SPELL_US + 1)
        return any((group, spell) in self._refused for spell in spells)

    def _left(self, entry: shapes.Left) -> None:
        self.left.setdefault(entry[4], []).append(entry)
