"""What the witnesses of an order say, as marks on the steps of those who brought it about.

A fact is laid on the work that caused it: by the event that was handled and by the call with the
same key; clocks only choose between two that are alike, never which came first. Not here: the steps
themselves (`steps`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lab.history.entries import KINDS, Entry, kind_of
from lab.observe.model import Span
from lab.story.marks import Mark, Sign
from lab.story.told import Teller

_WRITER: Final[Mapping[str, str]] = {
    "VALIDATED": "validation",
    "REJECTED": "validation",
    "PAID": "payment",
    "DECLINED": "payment",
    "PAYMENT_UNKNOWN": "payment",
    "REFUND_PENDING": "payment",
    "REFUNDED": "payment",
    "REFUND_FAILED": "payment",
    "CONFIRMED": "orders",
}
"""The group that moves an order into a state; the API does so into all others, and a timer."""
_TOLD: Final = frozenset({"row", "revenue", "ledger", "letter", "failed"})


class Fact(NamedTuple):
    """What a process or a witness says."""

    process: str
    mark: Mark


def facts_on(
    spans: Sequence[Span], entries: Iterable[Entry], epoch_us: int, turn: Entry | None = None
) -> tuple[dict[str, list[Mark]], list[Fact]]:
    """The facts of an order, by the id of the span on which each is laid; and those without one.

    Args:
        spans: of the order.
        entries: about the order.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        turn: one of `entries`, the very object, that is marked whatever it is.
    """
    known = list(entries)
    teller = Teller(known)
    causes = {
        made.event_id: made.cause_id
        for entry in known
        if kind_of(entry) == "appended"
        for made in [_made(entry)]
    }
    places = _Places(spans)
    laid: dict[str, list[Mark]] = {}
    alone: list[Fact] = []
    for entry in known:
        is_turn = entry is turn
        if kind_of(entry) not in _TOLD and not is_turn:
            continue
        made = _made(entry)
        sign = Sign.TURN if is_turn else Sign.FACT
        mark = Mark(at_us=epoch_us + made.t_us, sign=sign, text=teller.told(entry))
        span = places.of(made, causes, mark.at_us)
        if span is None:
            alone.append(Fact(made.process, mark))
        else:
            laid.setdefault(span.span_id, []).append(mark)
    return laid, alone


class _Places:
    """The spans of an order by what a fact knows of them."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans: dict[tuple[object, ...], list[Span]] = {}
        self._used: dict[str, int] = {}
        for span in spans:
            told = span.attributes
            self._add(span, "node", span.node)
            match span.action:
                case "attempt":
                    group = told.get("messaging.consumer.group.name")
                    self._add(span, group, told.get("messaging.message.id"))
                    self._add(span, group)
                case "call":
                    self._add(span, "call", told.get("lab.provider"), told.get("lab.key", ""))
                case "publish":
                    self._add(span, "publish", told.get("messaging.message.id"))
                case "request":
                    self._add(span, "request", span.service)
                case _:
                    pass

    def _add(self, span: Span, *key: object) -> None:
        self._spans.setdefault(key, []).append(span)

    def of(self, made: Any, causes: Mapping[str, str], at_us: int) -> Span | None:
        """The span that brought a fact about; None if none is known to have."""
        match made.kind:
            case "row":
                return self._of_row(made, causes, at_us)
            case "ledger" | "call.begin" | "call.end":
                return self._choose(at_us, "call", made.provider, made.key)
            case "http.begin" | "http.end":
                return self._choose(at_us, "request", "client")
            case "publish.begin" | "publish.end":
                return self._choose(at_us, "publish", made.event_ids[0])
            case "life" | "failed" | "acted":
                return self._at_work(made.process, at_us)
            case _:
                group, event_id = getattr(made, "group", ""), getattr(made, "event_id", "")
                return self._choose(at_us, group, event_id)

    def _at_work(self, process: str, at_us: int) -> Span | None:
        """The last work of a process until then that contains the rest of it."""
        begun = [
            span
            for span in self._spans.get(("node", process), ())
            if span.start_us <= at_us <= span.end_us and span.is_entry
        ]
        return max(begun, key=lambda span: span.start_us, default=None)

    def _of_row(self, made: Any, causes: Mapping[str, str], at_us: int) -> Span | None:
        group = _WRITER.get(made.state)
        if group is None:
            # Nobody asks for an expiry: a timer sees to it.
            return self._choose(at_us, "request", "api") if made.state != "EXPIRED" else None
        if (cause := causes.get(made.event_id)) is not None:
            return self._choose(at_us, group, cause)
        # An event that was never published has told nobody its cause.
        return self._choose(at_us, group)

    def _choose(self, at_us: int, *key: object) -> Span | None:
        """Of spans that are alike one that was at work then, the least used; else the first."""
        alike = self._spans.get(key)
        if not alike:
            return None
        within = [one for one in alike if one.start_us <= at_us <= one.end_us] or alike
        chosen = min(within, key=lambda one: self._used.get(one.span_id, 0))
        self._used[chosen.span_id] = self._used.get(chosen.span_id, 0) + 1
        return chosen


def _made(entry: Entry) -> Any:
    return KINDS[kind_of(entry)]._make(entry)
