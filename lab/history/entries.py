"""The entries of a history: the rules for all of them, and the type of each kind.

An entry is written as a plain tuple `(kind, t_us, process, subject, *fields)`: that happens some
hundred times an order, so a writer makes no object. A reader turns it into the named tuple of its
kind, which has the same fields in the same order.

Every entry begins with these four fields:

- `kind` names the type (`KINDS`).
- `t_us` is the scheduler's clock in simulated runs, the machine's monotonic clock in real ones.
- `process` is a process life such as `payment-1#2`, or one of the witnesses `client`, `store`,
  `bus`, `ledger`, `run`.
- `subject` is the order (`ordinal.send`), or "".

Two sorts of entries:

- **calls** (`calls`, `requests`) come from processes: `*.begin` before a call and `*.end` after it.
- **facts** (`facts`) come from witnesses that survive crashes (rows, records, offsets, ledgers).
  They are written when the change is applied, or gathered from the servers at the end of a real
  run. Facts of one witness about one order are in the order in which they were applied; between a
  fact and a call, and between two processes, no order is promised.

Entries hold ids, kinds, outcomes and times, and no free text, so that a digest is the same on every
Python. Not here: the fields of each kind.
"""

from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from lab.history import calls, facts, requests
from lab.history.contents import NO_TIME

Entry = tuple[object, ...]
T = TypeVar("T", bound=tuple[object, ...])

FACTS: Final[Mapping[str, type[NamedTuple]]] = {
    "row": facts.RowEntry,
    "outcome": facts.OutcomeEntry,
    "intent": facts.IntentEntry,
    "revenue": facts.RevenueEntry,
    "http_key": facts.HttpKeyEntry,
    "waiting": facts.WaitingEntry,
    "blocked": facts.BlockedEntry,
    "appended": facts.AppendedEntry,
    "letter": facts.LetterEntry,
    "committed": facts.CommittedEntry,
    "ledger": facts.LedgerEntry,
    "answered": facts.AnsweredEntry,
    "fault": facts.FaultEntry,
    "fault_end": facts.FaultEndEntry,
    "phase": facts.PhaseEntry,
    "life": facts.LifeEntry,
    "failed": facts.FailedEntry,
    "left": facts.LeftEntry,
    "order_truth": facts.OrderTruthEntry,
    "revenue_truth": facts.RevenueTruthEntry,
}
"""The type of each kind of fact."""

CALLS: Final[Mapping[str, type[NamedTuple]]] = {
    "http.begin": requests.HttpBeginEntry,
    "http.end": requests.HttpEndEntry,
    "shown": requests.ShownEntry,
    "publish.begin": calls.PublishBeginEntry,
    "publish.end": calls.PublishEndEntry,
    "deliver": calls.DeliverEntry,
    "settle": calls.SettleEntry,
    "handle.begin": calls.HandleBeginEntry,
    "handle.end": calls.HandleEndEntry,
    "commit.begin": calls.CommitBeginEntry,
    "commit.end": calls.CommitEndEntry,
    "call.begin": calls.CallBeginEntry,
    "call.end": calls.CallEndEntry,
    "claim": calls.ClaimEntry,
    "complete": calls.CompleteEntry,
    "unclaim": calls.UnclaimEntry,
    "look": calls.LookEntry,
    "retrying": calls.RetryingEntry,
    "buried": calls.BuriedEntry,
    "redriven": calls.RedrivenEntry,
    "start": calls.StartEntry,
    "position": calls.PositionEntry,
    "held": calls.HeldEntry,
    "lost": calls.LostEntry,
    "admitted": calls.AdmittedEntry,
    "owned": calls.OwnedEntry,
    "revoked": calls.RevokedEntry,
    "paused": calls.PausedEntry,
    "breaker": calls.BreakerEntry,
    "drained": calls.DrainedEntry,
    "acted": calls.ActedEntry,
    "request.begin": requests.RequestBeginEntry,
    "request.end": requests.RequestEndEntry,
    "stalled": calls.StalledEntry,
}
"""The type of each kind of call."""

KINDS: Final[Mapping[str, type[NamedTuple]]] = {**FACTS, **CALLS}
"""The type of every kind."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: entry_type._fields for kind, entry_type in KINDS.items()
}
"""All fields of each kind, in the order of the tuple: the names in `history.ndjson`."""

kind_of: Final[Callable[[Entry], str]] = itemgetter(0)
time_of: Final[Callable[[Entry], int]] = itemgetter(1)
subject_of: Final[Callable[[Entry], str]] = itemgetter(3)


def maker(entry_type: type[T]) -> Callable[[Entry], T]:
    """A function that turns an entry into its type, as `_make` does, and costs no frame.

    It does not count the fields: that is up to the caller.
    """
    return partial(tuple.__new__, entry_type)


_INSTANTS: Final = {
    kind: [
        place
        for place, name in enumerate(fields)
        if name in ("t_us", "deadline_us", "decided_us", "expires_us")
    ]
    for kind, fields in FIELDS.items()
}
"""The places of instants in each kind; all other times are lengths."""


def counted_from(origin_us: int, entry: Entry) -> Entry:
    """An entry with its instants counted from another origin, such as the begin of the run."""
    fields = list(entry)
    for place in _INSTANTS[kind_of(entry)]:
        at_us = fields[place]
        if isinstance(at_us, int) and at_us != NO_TIME:
            fields[place] = at_us - origin_us
    return tuple(fields)


def as_dict(entry: Entry) -> dict[str, object]:
    """One entry with its field names, as `history.ndjson` and the pages show it."""
    return dict(zip(FIELDS[kind_of(entry)], entry, strict=True))
