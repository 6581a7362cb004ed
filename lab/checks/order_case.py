"""One order's case: every entry of the history about the order, until it is judged.

The folds fill a case, entry by entry. It is judged once: when the order has come to its end and
nothing more is to be expected, or when the run has ended. So a check sees all facts and calls about
an order together, and never depends on the order in which witnesses reported them. A clean case
shrinks to a handful of references (`Packed`); a later entry about the order opens it again.

Not here: the folds (`fact_folds`, `call_folds`), the time of the judgement (`order_cases`), the
legal moves (`tables`), and the promises.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lab.checks.tables import EVENT_OF, READERS, TERMINAL, is_refusal
from lab.history.shapes import (
    Appended,
    Buried,
    HandleBegin,
    HandleEnd,
    HttpBegin,
    HttpEnd,
    HttpKey,
    Intent,
    Ledger,
    Outcome,
    Redriven,
    Retrying,
    Revenue,
    Row,
    Waiting,
)

Owed = tuple[str, str]
"""(group, event id): something that a group owes an outcome to."""


class Ack(NamedTuple):
    """An acknowledgement that the process's own earlier entries do not account for."""

    group: str
    event_id: str
    why: str
    topic: str


class Disorder(NamedTuple):
    """Two handler runs of one key and topic in one process, in the wrong order."""

    process: str
    group: str
    topic: str
    before: int
    sequence: int


class Again(NamedTuple):
    """A delivery that was settled with a retry: its attempt, when, and after how long."""

    group: str
    event_id: str
    attempt: int
    t_us: int
    after_us: int


class Died(NamedTuple):
    """A commit in whose middle a process was killed, and between which instants it was made."""

    group: str
    begun_us: int
    end_us: int


class Packed(NamedTuple):
    """What is left of a clean case: enough to notice anything that would break a promise later."""

    states: tuple[str, ...]
    event_ids: tuple[str, ...]
    amount_cents: int
    currency: str
    ledger: tuple[Ledger, ...]
    key: str
    answer: str


class Case:
    """One order. Tuples grow in the order of the history; `Case.subject` is `ordinal.send`.

    Attributes:
        published: first record on a main topic, by event id; None for one known from before.
        parked: records on retry topics and dead-letter queues.
        cancels: answers with status 200 to a cancel.
        sent: the key of each charge or refund that was asked for, whatever came of it.
        settled: (group, event id) whose handling ended in a unit that a process saw committed, and
            each such process. committed_again: those for which that was not the first.
        suppressed: (group, event id) that were acknowledged as done already.
        lanes: highest sequence that a handler was started with, by (process, group, topic).
        started_again: handler runs of attempt 2 and later.
        attempts_over: deliveries with an attempt beyond the declared maximum.
        failures: handler runs that did not end well.
        died: commits whose answer its process did not live to see.
        has_ended: the run is over, so that nothing more is to be expected.
        state: of the last row, "" without one. owed, done, dead: see `weigh`.
    """

    # Most orders never need most of these: a default that is shared costs nothing.
    begun: tuple[HttpBegin, ...] = ()
    answers: tuple[HttpEnd, ...] = ()
    cancels: tuple[HttpEnd, ...] = ()
    rows: tuple[Row, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    intents: tuple[Intent, ...] = ()
    sent: tuple[str, ...] = ()
    ledger: tuple[Ledger, ...] = ()
    revenue: tuple[Revenue, ...] = ()
    http_keys: tuple[HttpKey, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    parked: tuple[Appended, ...] = ()
    committed_again: tuple[Owed, ...] = ()
    suppressed: tuple[Owed, ...] = ()
    acks: tuple[Ack, ...] = ()
    disorders: tuple[Disorder, ...] = ()
    started_again: tuple[HandleBegin, ...] = ()
    attempts_over: tuple[Owed, ...] = ()
    failures: tuple[HandleEnd, ...] = ()
    retrying: tuple[Retrying, ...] = ()
    again: tuple[Again, ...] = ()
    buried: tuple[Buried, ...] = ()
    redriven: tuple[Redriven, ...] = ()
    died: tuple[Died, ...] = ()
    is_judged = False
    is_broken = False
    is_revived = False
    is_finished = False
    has_ended = False
    state = ""
    owed: Sequence[Owed]
    done: set[Owed]
    dead: dict[Owed, int]

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.published: dict[str, Appended | None] = {}
        self.settled: dict[Owed, tuple[str, ...]] = {}
        self.lanes: dict[tuple[str, str, str], int] = {}

    @property
    def name(self) -> str:
        """The order as people call it: its ordinal, with the send if it was not the first."""
        ordinal, _, send = self.subject.partition(".")
        return ordinal if send in ("", "1") else self.subject

    @property
    def is_whole(self) -> bool:
        """Nothing more is to be expected of it: what is missing, is missing."""
        return self.is_finished or self.has_ended

    def weigh(self) -> None:
        """Work out `state`, `owed`, `done`, `dead` and `is_finished` from what is known now.

        owed: (group, event id) of every committed change. done: those with a `done` row, or whose
        handling ended in a unit that was told to be committed (without `inbox` there is no row).
        dead: the highest redrives of those with a `dead` outcome.
        """
        rows = self.rows
        self.state = rows[-1][5] if rows else ""
        self.owed = [(group, row[6]) for row in rows for group in READERS.get(row[7], ()) if row[6]]
        self.done = done = set(self.settled)
        self.dead = {}
        for outcome in self.outcomes:
            if outcome[6] == "done":
                done.add(outcome[4:6])
            else:
                self.dead[outcome[4:6]] = max(outcome[7], self.dead.get(outcome[4:6], 0))
        self.is_finished = self._is_finished() if rows else self._is_dismissed()

    def growth(self) -> int:
        """A number that changes whenever something is added that matters for the end."""
        return (
            len(self.rows)
            + len(self.outcomes)
            + len(self.intents)
            + len(self.ledger)
            + len(self.published)
            + len(self.settled)
            + len(self.begun)
            + len(self.answers)
        )

    def may_be_finished(self) -> bool:
        """A quick look: False if it cannot be."""
        rows = self.rows
        return rows[-1][5] in TERMINAL if rows else bool(self.answers)

    def has_open_intent(self, kind: str = "") -> bool:
        """Whether a charge or refund (or one of `kind`) was announced and is not closed."""
        last: dict[tuple[str, int], str] = {}
        for intent in self.intents:
            last[intent[5], intent[6]] = intent[4]
        return any(op != "close" and kind in ("", of) for (of, _), op in last.items())

    def behind_dead_head(self) -> set[Owed]:
        """(group, event id) of the rows that wait behind a dead head, heads left out."""
        return {
            (group, event_id)
            for group, rows in self.queues().items()
            for n, event_id in enumerate(rows)
            if n and next(iter(rows.values()))
        }

    def queues(self) -> dict[str, dict[str, bool]]:
        """Rows of the order's key in retry by group: event ids, head first, and whether dead."""
        queues: dict[str, dict[str, bool]] = {}
        for _, _, _, _, op, group, event_id, _ in self.waiting:
            rows = queues.setdefault(group, {})
            if op == "remove":
                rows.pop(event_id, None)
            else:
                rows[event_id] = op == "bury"
        return queues

    def died_unlocked(self, owed: Owed) -> bool:
        """Whether an event died before its key was locked, so that nothing waited behind it.

        A redrive of such a one comes too late to keep its place.
        """
        died_us = [entry[1] for entry in self.outcomes if entry[4:7] == (*owed, "dead")]
        locked_us = [entry[1] for entry in self.waiting if entry[5:7] == owed]
        return bool(died_us) and (not locked_us or died_us[0] < locked_us[0])

    def event_type(self, event_id: str) -> str:
        """Type of one of its events, "" if no row owes it."""
        for row in self.rows:
            if row[6] == event_id:
                return row[7]
        return ""

    def _is_finished(self) -> bool:
        if self.state not in TERMINAL or self.has_open_intent():
            return False
        if self.waiting and any(self.queues().values()):
            return False
        published = self.published.keys()
        return self.done.issuperset(self.owed) and published >= {row[6] for row in self.rows}

    def _is_dismissed(self) -> bool:
        """Nothing is stored under this subject, and the client was told so."""
        answers = self.answers
        return bool(answers) and all(is_refusal(answer[8], answer[9]) for answer in answers)

    def packed(self) -> Packed:
        """See `Packed`."""
        rows = self.rows
        event_ids = tuple([row[6] for row in rows])
        return Packed(
            _shared(tuple([row[5] for row in rows])),
            event_ids,
            rows[0][9] if rows else 0,
            rows[0][8] if rows else "",
            # A mail under the id of its event need not be remembered: the event is.
            tuple([entry for entry in self.ledger if entry[6] not in event_ids]),
            self.begun[0][5] if self.begun else "",
            self.answers[-1][10] if self.answers else "",
        )

    @classmethod
    def unpacked(cls, subject: str, packed: Packed) -> "Case":
        """The case of an order that was clean, as far as it can still matter."""
        case = cls(subject)
        case.is_revived = True
        case.begun = (("http.begin", 0, "client", subject, "create", packed.key, "", 1),)
        amount, currency = packed.amount_cents, packed.currency
        for n, (state, event_id) in enumerate(zip(packed.states, packed.event_ids, strict=True)):
            kind = EVENT_OF[state]
            case.rows += (
                ("row", 0, "store", subject, n + 1, state, event_id, kind, currency, amount),
            )
            case.published[event_id] = None
            for group in READERS[kind]:
                case.settled[group, event_id] = ("",)
                if group == "notification" and kind == "OrderConfirmed":
                    case.revenue += (
                        ("revenue", 0, "store", subject, group, event_id, currency, amount),
                    )
                if group == "notification" and not any(e[5] == "mail" for e in packed.ledger):
                    case.ledger += (
                        ("ledger", 0, "ledger", subject, "", "mail", event_id, kind, 0, ""),
                    )
        case.ledger += packed.ledger
        if not packed.states:
            answer = ("http.end", 0, "client", subject, "create", packed.key, "", 1, 422, "", "")
            case.answers = (answer,)
        return case


_PATHS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}


def _shared(path: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for the same path: there are few of them."""
    return _PATHS.setdefault(path, path)
