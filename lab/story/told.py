"""One entry of a history in plain words: who did what, without ids.

Not here: which entry is worth a word (`turning`, `parting`), and steps made of many (`steps`).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lab.checks.check import times
from lab.domain.currency import in_major_units
from lab.history.entries import KINDS, Entry, kind_of
from lab.story.words import deed, length

_WITNESSES: Final[Mapping[str, str]] = {"ledger": "its ledger", "bus": "the bus", "run": "the run"}
_ROUTES: Final[Mapping[str, str]] = {"create": "POST /orders", "cancel": "the cancel"}
_OFTEN: Final[Mapping[int, str]] = {1: "", 2: ", for the second time", 3: ", for the third time"}
_WAITING: Final[Mapping[str, str]] = {
    "add": "puts {} into retry",
    "bury": "notes that {} in retry is dead",
    "revive": "notes that {} is to be tried again",
    "remove": "takes {} out of retry",
}
_LIVES: Final[Mapping[str, str]] = {
    "start": "starts",
    "kill": "is killed",
    "term": "is told to stop",
    "pause": "is stopped by a signal",
    "resume": "goes on",
    "stopped": "has stopped",
    "aborted": "is aborted",
    "exited": "ends by itself",
}


class Teller:
    """Puts the entries about an order into words.

    Args:
        entries: of the order: they know which event an id is, and what was done before.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.types: dict[str, str] = {}
        """The type of each event, by its id."""
        self._often: dict[Entry, int] = {}
        counts: dict[tuple[object, ...], int] = {}
        for entry in entries:
            made: Any = KINDS[kind_of(entry)]._make(entry)
            if getattr(made, "event_type", "") and made.event_id:
                self.types[made.event_id] = made.event_type
            if (key := _done(made)) is not None:
                counts[key] = self._often[entry] = counts.get(key, 0) + 1

    def event(self, event_id: str) -> str:
        """The type of an event."""
        return self.types.get(event_id, "an event")

    def told(self, entry: Entry) -> str:
        """Who did what, such as `payment-1 starts its handler of OrderValidated`."""
        kind = kind_of(entry)
        made: Any = KINDS[kind]._make(entry)
        tell = _TELLERS.get(kind)
        if tell is None:
            return f"{made.process}: {kind.replace('.', ' ').replace('_', ' ')}"
        number = self._often.get(entry, 1)
        often = _OFTEN.get(number, f", for the {number}th time")
        return tell(self, made) + often


def _done(made: Any) -> tuple[object, ...] | None:
    """What an entry says was done for good, so that doing it again is worth a word."""
    match made.kind:
        case "revenue":
            return "revenue", made.group, made.event_id
        case "ledger":
            what = made.charge_key if made.action == "mail" else ""
            return "ledger", made.provider, made.action, what
        case "row":
            return "row", made.state
        case "handle.begin":
            return "handle", made.group, made.event_id
        case _:
            return None


def _money(made: Any) -> str:
    return in_major_units(made.amount_cents, made.currency)


def _client_got(made: Any) -> str:
    if not made.status:
        return "the client gets no answer"
    problem = f" ({made.problem})" if made.problem else ""
    return f"the client gets {made.status}{problem}"


def _settled(teller: Teller, made: Any) -> str:
    event = teller.event(made.event_id)
    why = f" ({made.why.replace('_', ' ')})" if made.why else ""
    match made.settlement:
        case "ack":
            does = f"acknowledges {event}"
        case "retry":
            does = f"keeps {event} for another attempt in {length(made.after_us)}"
        case "dead":
            does = f"gives {event} up"
        case "release":
            does = f"gives {event} back"
        case _:
            does = f"drops {event}: it is no longer its own"
    return f"{made.process} {does}{why}"


def _ledger(_teller: Teller, made: Any) -> str:
    match made.action:
        case "capture":
            return f"{made.provider} takes {_money(made)}"
        case "decline":
            return f"{made.provider} declines {_money(made)}"
        case "refund":
            return f"{made.provider} gives back {_money(made)}"
        case "refund_declined":
            return f"{made.provider} refuses to give back {_money(made)}"
        case _:
            return f"{made.provider} sends the mail {made.charge_key!r}"


def _published(teller: Teller, made: Any) -> str:
    events = ", ".join(dict.fromkeys(map(teller.event, made.event_ids)))
    return f"{events} to {made.topic}" if made.topic else events


def _failed(result: str) -> str:
    return f"failed with {result}" if result[:1].isupper() else result.replace("_", " ")


def _unless(usual: str, result: str) -> str:
    """The result, if it is not the usual one."""
    return "" if result == usual else f": {_failed(result)}"


def _shown(made: Any) -> str:
    at = {"alone": "", "unchanged": ", unchanged", "listed": " in its list"}.get(made.how)
    if at is None:
        return f"{made.how.replace('_', ' ')} in its list"
    return f"{made.state}{at}" if made.state else f"{made.status}{at}"


def _fault(made: Any) -> str:
    return made.kind_of_fault if made.site == "any" else f"{made.kind_of_fault} at {made.site}"


def _waits(made: Any) -> str:
    return f" in {length(made.delay_us)}" if made.delay_us else ""


_TELLERS: Final[Mapping[str, Callable[[Teller, Any], str]]] = {
    "http.begin": lambda _, one: (
        f"the client sends {_ROUTES[one.op]}{'' if one.send == 1 else ' again'}"
    ),
    "http.end": lambda _, one: _client_got(one),
    "shown": lambda _, one: f"the client looks at the order: {_shown(one)}",
    "request.begin": lambda _, one: f"{one.process} begins to answer {_ROUTES[one.op]}",
    "request.end": lambda _, one: f"{one.process} answers {_ROUTES[one.op]} with {one.status}",
    "publish.begin": lambda t, one: f"{one.process} publishes {_published(t, one)}",
    "publish.end": lambda t, one: (
        f"{one.process} has published {_published(t, one)}{_unless('ok', one.result)}"
    ),
    "deliver": lambda _, one: (
        f"{one.process} is handed {one.event_type}"
        f"{'' if one.attempt == 1 else f', attempt {one.attempt}'}"
    ),
    "settle": _settled,
    "handle.begin": lambda _, one: f"{one.process} starts its handler of {one.event_type}",
    "handle.end": lambda _, one: (
        f"{one.process} ends its handler of {one.event_type}{_unless('ok', one.result)}"
    ),
    "commit.begin": lambda _, one: f"{one.process} is about to commit",
    "commit.end": lambda _, one: f"{one.process} commits{_unless('committed', one.result)}",
    "call.begin": lambda _, one: f"{one.process} calls {one.provider}: {one.action}",
    "call.end": lambda _, one: (
        f"{one.process} has called {one.provider}, {one.action}: {_failed(one.result)}"
    ),
    "claim": lambda t, one: f"{one.process} claims {t.event(one.event_id)}: {one.state}",
    "complete": lambda t, one: f"{one.process} completes its claim of {t.event(one.event_id)}",
    "unclaim": lambda t, one: f"{one.process} gives back its claim of {t.event(one.event_id)}",
    "retrying": lambda t, one: (
        f"{one.process} failed at {t.event(one.event_id)} ({one.error_class}) and tries it again"
        f"{_waits(one)}"
    ),
    "buried": lambda t, one: (
        f"{one.process} gives {t.event(one.event_id)} up: {one.reason.replace('_', ' ')}, after "
        f"{times(one.attempts, 'attempt')}"
    ),
    "redriven": lambda t, one: f"an operator has {one.answer} {t.event(one.event_id)}",
    "acted": lambda _, one: f"{one.process}: {deed(one.pattern, one.what)}",
    "breaker": lambda _, one: (
        f"{one.process}: its breaker for {one.dependency} is {one.state.replace('_', ' ')}"
    ),
    "row": lambda _, one: (
        f"the store has the order as {one.state}{f' ({one.reason})' if one.reason else ''}"
    ),
    "outcome": lambda t, one: f"the store notes {t.event(one.event_id)} as {one.outcome}",
    "intent": lambda _, one: f"the store notes a {one.intent_kind}: {one.op}",
    "revenue": lambda t, one: (
        f"the store adds {_money(one)} to the revenue for {t.event(one.event_id)}"
    ),
    "http_key": lambda _, one: f"the store keeps the answer {one.status} under its Idempotency-Key",
    "waiting": lambda t, one: f"the store {_WAITING[one.op].format(t.event(one.event_id))}",
    "appended": lambda _, one: f"{one.event_type or 'a record'} stands in {one.topic}",
    "letter": lambda t, one: (
        f"{t.event(one.event_id)} stands in {one.topic}: {one.reason.replace('_', ' ')}"
    ),
    "committed": lambda _, one: (
        f"{one.group} has committed {one.topic}/{one.partition} up to {one.offset}"
    ),
    "position": lambda _, one: (
        f"{one.process} commits {one.topic}/{one.partition} up to {one.offset}"
    ),
    "admitted": lambda _, one: f"{one.process} has {one.requests} requests in hand",
    "held": lambda _, one: f"{one.process} has {one.records} records in hand",
    "ledger": _ledger,
    "answered": lambda _, one: f"{one.provider} answers {one.action}: {one.answer}",
    "fault": lambda _, one: f"fault {_fault(one)}",
    "fault_end": lambda _, one: f"fault {_fault(one)} is over",
    "phase": lambda _, one: f"the run comes to its phase {one.name}",
    "life": lambda _, one: f"{one.process} {_LIVES.get(one.event, one.event)}",
    "failed": lambda _, one: f"{one.process}: {one.error} comes out ({one.where})",
    "left": lambda _, one: f"{one.count} {one.what} are left",
    "owned": lambda _, one: f"{one.process} is given {len(one.partitions)} partitions",
    "revoked": lambda _, one: f"{one.process} has lost {len(one.partitions)} partitions",
    "drained": lambda _, one: (
        f"{one.process} stops with {one.drained} done, {one.cancelled} cancelled and "
        f"{one.abandoned} left behind"
    ),
}
