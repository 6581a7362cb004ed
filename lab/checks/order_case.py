"""One order's case: every entry of the history about the order, until it is judged.

The folds fill a case, entry by entry. It is judged once: when the order has come to its end and
nothing more is to be expected, or when the run has ended. So a check sees all facts and calls about
an order together, and never depends on the order in which witnesses reported them. A clean case
shrinks to a handful of references (`Packed`); a later entry about the order opens it again.

Not here: the folds (`fact_folds`, `call_folds`), the time of the judgement (`order_cases`), the
legal moves (`tables`), and the promises.
"""

from typing import Final, NamedTuple, Protocol

from lab.checks.case_notes import AckSeen, Again, Died, Disorder, MoneySent, Turn
from lab.checks.doubts import Denied, Unheard
from lab.checks.tables import (
    EVENT_OF,
    MAILER,
    READERS,
    REVENUE_EVENT,
    TEMPLATE_OF,
    TERMINAL,
    THROTTLED,
    is_refusal,
)
from lab.history.calls import (
    BuriedEntry,
    HandleBeginEntry,
    HandleEndEntry,
    RedrivenEntry,
    RetryingEntry,
)
from lab.history.facts import (
    AnsweredEntry,
    AppendedEntry,
    HttpKeyEntry,
    IntentEntry,
    LedgerEntry,
    LetterEntry,
    OrderTruthEntry,
    OutcomeEntry,
    RevenueEntry,
    RowEntry,
    WaitingEntry,
)
from lab.history.requests import HttpBeginEntry, HttpEndEntry, ShownEntry

_CLOSED: Final = frozenset({"close"})

TRACE_END: Final = len("00-") + 32
"""The end of version and trace id in a traceparent. Source: W3C Trace Context."""

Owed = tuple[str, str]
"""(group, event id): the group owes the event an outcome."""


class OfEvent(Protocol):
    """An entry about one event in one group."""

    @property
    def group(self) -> str:
        """The consumer group."""
        ...

    @property
    def event_id(self) -> str:
        """The event's id."""
        ...


def owed_of(entry: OfEvent) -> Owed:
    """The (group, event id) that an entry is about."""
    return entry.group, entry.event_id


class Packed(NamedTuple):
    """The rest of a clean case: enough to notice anything that would break a promise later.

    `last_us`: when its last event was published; 0 in a run whose clients do not look.
    """

    states: tuple[str, ...]
    event_ids: tuple[str, ...]
    amount_cents: int
    currency: str
    ledger: tuple[LedgerEntry, ...]
    key: str
    first: tuple[str, str] | None
    last_us: int


class Case:
    """One order. Tuples grow in the order of the history; `Case.subject` is `ordinal.send`.

    Attributes:
        published: first record on a main topic, by event id; None if only its id is left of it.
        copies: further records on main topics that differ from the first in bytes, place, trace or
            cause, or whose first is forgotten.
        poisoned: types of its events whose records a fault has replaced in the log.
        parked: records on retry topics and dead-letter queues.
        letters: dead letters, by what their headers tell.
        cancels: answers with status 200 to a cancel. cancel_begun, cancel_answers: every request
            for one, and every answer.
        sent: charges and refunds, see `MoneySent`. questions: the same, about them. called_again:
            any of these for which the run before had no reason, see `lab.checks.questions`.
        looked: the customer whose record was read for it, and what came of it: `yes` (he is
            blocked), `no`, or an error.
        settled: (group, event id) whose handling ended in a unit that a process saw committed, with
            each such process. committed_again: those for which that was not the first unit.
        suppressed: (group, event id) that were acknowledged as done already.
        handled: (group, when) of what was acknowledged as handled while it had records on retry
            topics.
        runs: handler runs. unmatched: those whose event was not known to stand, as it was given to
            the handler, in its topic. ungiven: those of a process that had no delivery of the order
            in hand. overlaps: those begun while another of the order ran under the same epoch.
        lanes: highest sequence that a handler was started with, by (process, group, topic).
        started_again: handler runs of attempt 2 and later, and of events that were sent back.
        attempts_over: deliveries with an attempt beyond the declared maximum.
        failures: handler runs that did not end well. in_vain: those that had seen their outcome
            committed, and had time left. turns: see `Turn`.
        asked_away_us: until when third parties asked to stay away, at the latest.
        denied, unheard: see `Denied` and `Unheard`.
        died: commits whose process was killed before it saw the answer.
        shown: every look of its client. last_us: see `Packed`, of a case that was packed.
        first: see `root`, of a case that was packed.
        truth: the order as its store has it at the end; of one that is not asked there is none.
        has_ended: the run is over, so that nothing more is to be expected.
        state: of the last row, "" without one. owed, done, dead: see `weigh`.
    """

    # Most orders never need most of these: a default that is shared costs nothing.
    begun: tuple[HttpBeginEntry, ...] = ()
    answers: tuple[HttpEndEntry, ...] = ()
    letters: tuple[LetterEntry, ...] = ()
    cancels: tuple[HttpEndEntry, ...] = ()
    cancel_begun: tuple[HttpBeginEntry, ...] = ()
    cancel_answers: tuple[HttpEndEntry, ...] = ()
    shown: tuple[ShownEntry, ...] = ()
    last_us = 0
    rows: tuple[RowEntry, ...] = ()
    outcomes: tuple[OutcomeEntry, ...] = ()
    intents: tuple[IntentEntry, ...] = ()
    sent: tuple[MoneySent, ...] = ()
    questions: tuple[MoneySent, ...] = ()
    called_again: tuple[MoneySent, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()
    answered: tuple[AnsweredEntry, ...] = ()
    looked: tuple[tuple[str, str], ...] = ()
    revenue: tuple[RevenueEntry, ...] = ()
    http_keys: tuple[HttpKeyEntry, ...] = ()
    waiting: tuple[WaitingEntry, ...] = ()
    copies: tuple[AppendedEntry, ...] = ()
    parked: tuple[AppendedEntry, ...] = ()
    poisoned: tuple[str, ...] = ()
    runs = 0
    unmatched: tuple[HandleBeginEntry, ...] = ()
    ungiven: tuple[HandleBeginEntry, ...] = ()
    overlaps: tuple[HandleBeginEntry, ...] = ()
    committed_again: tuple[Owed, ...] = ()
    suppressed: tuple[Owed, ...] = ()
    handled: tuple[tuple[str, int], ...] = ()
    acks: tuple[AckSeen, ...] = ()
    disorders: tuple[Disorder, ...] = ()
    started_again: tuple[HandleBeginEntry, ...] = ()
    attempts_over: tuple[Owed, ...] = ()
    failures: tuple[HandleEndEntry, ...] = ()
    in_vain: tuple[HandleEndEntry, ...] = ()
    asked_away_us: int = 0
    retrying: tuple[RetryingEntry, ...] = ()
    again: tuple[Again, ...] = ()
    turns: tuple[Turn, ...] = ()
    buried: tuple[BuriedEntry, ...] = ()
    redriven: tuple[RedrivenEntry, ...] = ()
    denied: tuple[Denied, ...] = ()
    unheard: tuple[Unheard, ...] = ()
    died: tuple[Died, ...] = ()
    truth: tuple[OrderTruthEntry, ...] = ()
    is_judged = False
    is_broken = False
    is_revived = False
    is_finished = False
    has_ended = False
    state = ""
    first: tuple[str, str] | None = None
    owed: list[Owed]
    done: set[Owed]
    dead: dict[Owed, int]

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.published: dict[str, AppendedEntry | None] = {}
        self.settled: dict[Owed, tuple[str, ...]] = {}
        self.lanes: dict[tuple[str, str, str], int] = {}

    @property
    def name(self) -> str:
        """The order as people call it: its ordinal, with the send if it was not the first."""
        ordinal, _, send = self.subject.partition(".")
        return ordinal if send in ("", "1") else self.subject

    @property
    def is_whole(self) -> bool:
        """Nothing more is to be expected of it: a missing entry is really missing."""
        return self.is_finished or self.has_ended

    def weigh(self) -> None:
        """Work out `state`, `owed`, `done`, `dead` and `is_finished` from the entries so far.

        owed: (group, event id) of every committed change. done: those with a `done` row, or whose
        handling ended in a unit that a process saw committed (without `inbox` there is no row).
        dead: the highest redrives of those with a `dead` outcome.
        """
        rows, published = self.rows, self.published
        self.state = rows[-1].state if rows else ""
        self.owed = owed = []
        is_published = True
        for row in rows:
            event_id = row.event_id
            if event_id not in published:
                is_published = False
            if event_id:
                for group in READERS.get(row.event_type, ()):
                    owed.append((group, event_id))  # noqa: PERF401 - a comprehension is a frame
        self.done = done = set(self.settled)
        self.dead = {}
        for outcome in self.outcomes:
            of = (outcome.group, outcome.event_id)
            if outcome.outcome == "done":
                done.add(of)
            else:
                self.dead[of] = max(outcome.redrives, self.dead.get(of, 0))
        self.is_finished = is_published and self._is_finished() if rows else self._is_dismissed()

    def growth(self) -> int:
        """A number that changes with every added entry that matters for the end."""
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
        return rows[-1].state in TERMINAL if rows else bool(self.answers)

    def throttled_us(self, owed: Owed) -> list[int]:
        """When an event was told to wait because it was throttled."""
        return [
            each.t_us for each in self.retrying if each.where == THROTTLED and owed_of(each) == owed
        ]

    def has_open_intent(self, kind: str = "") -> bool:
        """Whether a charge or refund (or one of `kind`) was announced and is not closed."""
        intents = self.intents
        if not intents:
            return False
        last: dict[tuple[str, int], str] = {}
        for intent in intents:
            last[intent.intent_kind, intent.n] = intent.op
        if _CLOSED.issuperset(last.values()):
            return False
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
        for change in self.waiting:
            rows = queues.setdefault(change.group, {})
            if change.op == "remove":
                rows.pop(change.event_id, None)
            else:
                rows[change.event_id] = change.op == "bury"
        return queues

    def died_unlocked(self, owed: Owed) -> bool:
        """Whether an event died before its key was locked, so that nothing waited behind it.

        A redrive of such an event comes too late to keep its place.
        """
        died_us = [
            outcome.t_us
            for outcome in self.outcomes
            if owed_of(outcome) == owed and outcome.outcome == "dead"
        ]
        locked_us = [change.t_us for change in self.waiting if owed_of(change) == owed]
        return bool(died_us) and (not locked_us or died_us[0] < locked_us[0])

    def root(self) -> tuple[str, str] | None:
        """The order's trace (`00-` and 32 digits) and its id, as its first event has them.

        None while that was not published.
        """
        first = self.published.get(self.rows[0].event_id) if self.rows else None
        return self.first if first is None else (first.traceparent[:TRACE_END], first.cause_id)

    def event_type(self, event_id: str) -> str:
        """Type of one of its events, "" if no row owes it."""
        for row in self.rows:
            if row.event_id == event_id:
                return row.event_type
        return ""

    def _is_finished(self) -> bool:
        """Of an order whose rows owe no event that was not published."""
        if self.state not in TERMINAL or not self.done.issuperset(self.owed):
            return False
        if self.waiting and any(self.queues().values()):
            return False
        return not self.has_open_intent()

    def _is_dismissed(self) -> bool:
        """Nothing is stored under this subject, and every answer to the client was a refusal."""
        answers = self.answers
        return bool(answers) and all(is_refusal(each.status, each.problem) for each in answers)

    def packed(self, *, is_looked_at: bool) -> Packed:
        """See `Packed`; `is_looked_at`: clients may look at it still."""
        rows = self.rows
        event_ids = tuple([row.event_id for row in rows])
        return Packed(
            _shared(tuple([row.state for row in rows])),
            event_ids,
            rows[0].amount_cents if rows else 0,
            rows[0].currency if rows else "",
            # A mail under the id of its event need not be remembered: the event is.
            tuple([line for line in self.ledger if line.key not in event_ids]),
            self.begun[0].key if self.begun else "",
            self.root(),
            self._last_us() if is_looked_at else 0,
        )

    def _last_us(self) -> int:
        published = self.published.values()
        return max(
            (record.t_us for record in published if record is not None), default=self.last_us
        )

    @classmethod
    def unpacked(cls, subject: str, packed: Packed) -> "Case":
        """The case of an order that was clean, with the entries that can still matter."""
        case = cls(subject)
        case.is_revived = True
        case.first = packed.first
        case.last_us = packed.last_us
        currency, cents = money = (packed.currency, packed.amount_cents)
        asked = ("create", packed.key, "", 1, cents, currency, "", "", "")
        case.begun = (HttpBeginEntry("http.begin", 0, "client", subject, *asked),)
        has_mail = any(line.action == "mail" for line in packed.ledger)
        for n, (state, event_id) in enumerate(zip(packed.states, packed.event_ids, strict=True)):
            kind = EVENT_OF[state]
            case.rows += (
                RowEntry("row", 0, "store", subject, n + 1, state, event_id, kind, *money, "", ""),
            )
            case.published[event_id] = None
            for group in READERS[kind]:
                case.settled[group, event_id] = ("",)
                if group != MAILER:
                    continue
                if kind == REVENUE_EVENT:
                    case.revenue += (
                        RevenueEntry("revenue", 0, "store", subject, group, event_id, *money),
                    )
                if not has_mail:
                    mail = ("mail", event_id, TEMPLATE_OF[kind], 0, "")
                    case.ledger += (LedgerEntry("ledger", 0, "ledger", subject, "", *mail),)
        case.ledger += packed.ledger
        if not packed.states:
            refusal = ("create", packed.key, "", 1, 422, "", "", "", False)
            case.answers = (HttpEndEntry("http.end", 0, "client", subject, *refusal),)
        return case


_PATHS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}


def _shared(path: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for the same path: there are few of them."""
    return _PATHS.setdefault(path, path)
