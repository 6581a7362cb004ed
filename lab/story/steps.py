"""The way of one order in steps, out of its spans and of what happened to processes meanwhile.

A step is a line of the waterfall: plain words, no ids. A cause stands before its effects whatever
their clocks say; clocks order only what has no other order. Not here: spans (`lab.observe`), facts
(`facts`), and how steps are drawn (`lab.report.html.waterfall`, `lab.cli.explain`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Final

import msgspec

from lab.checks.check import times
from lab.history.entries import Entry
from lab.observe.model import Attributes, LogLine, Span, SpanMoment
from lab.observe.process_view import service_of
from lab.story.facts import Fact, facts_on
from lab.story.marks import Mark, Sign
from lab.story.told import Teller
from lab.story.words import deed, length

MEANWHILE_MAX: Final = 12
FAULT: Final = "fault"
"""In the place of a service: nobody of the system did this."""
ANYWHERE: Final = "any"
KILLED: Final = frozenset({"process.killed", "process.aborted"})

_SHORT_US: Final = 1_000
_SILENT: Final = frozenset(
    {
        "handler.start",
        "handler.end",
        "dedupe.acquired",
        "dedupe.done",
        "dedupe.takeover",
        "retry.retried",
    }
)
_LIVES: Final[Mapping[str, str]] = {
    "kill": "was killed",
    "exited": "ended by itself",
    "aborted": "was aborted",
    "start": "was started again",
    "pause": "was stopped by a signal",
    "resume": "went on",
}


class StoryStep(msgspec.Struct, frozen=True, kw_only=True):
    """One line.

    Attributes:
        depth: 0 for what a process does, more for what it consists of.
        service: who does it.
        text: what is done.
        start_us, end_us: microseconds since 1970.
        failure: what went wrong, in a word or two; "" if nothing did.
        is_wait: nobody works: time goes by.
        marks: in the order of time.
    """

    depth: int
    service: str
    text: str
    start_us: int
    end_us: int
    failure: str = ""
    is_wait: bool = False
    marks: tuple[Mark, ...] = ()


def steps_of(
    spans: Sequence[Span],
    lines: Iterable[LogLine] = (),
    *,
    entries: Sequence[Entry] = (),
    turn: Entry | None = None,
    epoch_us: int = 0,
) -> tuple[StoryStep, ...]:
    """The steps of one order, a cause before its effects, each followed by what it consists of.

    Args:
        spans: of the order.
        lines: of the run; what happened to its processes while the order was under way is shown.
        entries: of the history, about the order; the facts in them are marked on the steps.
        turn: of `entries`, the very object: it gets a mark of its own.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
    """
    if not spans:
        return ()
    laid, alone = facts_on(spans, entries, epoch_us, turn)
    tree = _Tree(spans, laid, Teller(entries).types)
    blocks = [(entry.start_us, tuple(tree.steps(entry, 0))) for entry in tree.entries()]
    around = sorted((*_around(spans, lines), *map(_alone, alone)), key=lambda step: step.start_us)
    for step in reversed(around):
        # What is killed was at work before, what is struck is at work then.
        is_after = any(mark.sign is Sign.CRASH for mark in step.marks)
        place = next(
            (
                at
                for at, (start_us, _) in enumerate(blocks)
                if start_us > step.start_us or (start_us == step.start_us and not is_after)
            ),
            len(blocks),
        )
        blocks.insert(place, (step.start_us, (step,)))
    return tuple(step for _, steps in blocks for step in steps)


def _alone(fact: Fact) -> StoryStep:
    """A fact that no work of the order is known to have brought about."""
    mark = fact.mark
    return StoryStep(
        depth=0,
        service=service_of(fact.process),
        text=mark.text.removeprefix(f"{fact.process}: ").removeprefix(f"{fact.process} "),
        start_us=mark.at_us,
        end_us=mark.at_us,
        marks=(mark,),
    )


def _around(spans: Sequence[Span], lines: Iterable[LogLine]) -> Iterator[StoryStep]:
    """What struck the order beside its work, and what happened to processes that work for it."""
    begin_us = min(span.start_us for span in spans)
    end_us = max(span.end_us for span in spans)
    subjects = {span.subject for span in spans}
    busy: dict[str, tuple[int, int]] = {}
    for span in spans:
        first_us, last_us = busy.get(span.service, (span.start_us, span.end_us))
        busy[span.service] = min(first_us, span.start_us), max(last_us, span.end_us)
    busy[FAULT] = begin_us, end_us
    noted = {
        (moment.at_us, moment.attributes["lab.fault.kind"])
        for span in spans
        for moment in span.moments
        if moment.name == "lab.fault"
    }
    meanwhile = 0
    for line in lines:
        if not begin_us <= line.at_us <= end_us:
            continue
        if line.action == "fault" and line.subject:
            kind = line.attributes["lab.fault.kind"]
            if line.subject in subjects and (line.at_us, kind) not in noted:
                yield _moment(line, FAULT, Sign.FAULT, _where(kind, line.attributes))
        elif meanwhile < MEANWHILE_MAX:
            step = _meanwhile(line)
            # Of no account once the process had nothing more to do for this order.
            first_us, last_us = busy.get(step.service, (1, 0)) if step is not None else (1, 0)
            if step is not None and first_us <= line.at_us <= last_us:
                meanwhile += 1
                yield step


class _Tree:
    """The spans of an order by what contains what inside of a process."""

    def __init__(
        self,
        spans: Sequence[Span],
        facts: Mapping[str, Sequence[Mark]],
        event_types: Mapping[str, str],
    ) -> None:
        self._facts = facts
        self._numbers = count()
        known = {span.span_id for span in spans}
        self._spans = spans
        self._inside: dict[str, list[Span]] = {}
        self._below: dict[str, list[Span]] = {}
        self._roots: list[Span] = []
        self._again: set[str] = set()
        self._event_types = {**event_types} | {
            str(span.attributes["messaging.message.id"]): str(span.attributes["lab.event_type"])
            for span in spans
            if "lab.event_type" in span.attributes
        }
        handled: set[object] = set()
        for span in sorted(spans, key=_start):
            told = span.attributes
            if span.action == "deliver":
                event = told["messaging.consumer.group.name"], told["messaging.message.id"]
                if event in handled:
                    self._again.add(span.span_id)
                handled.add(event)
            if not span.is_entry and span.parent_id in known:
                self._inside.setdefault(span.parent_id, []).append(span)
            elif span.parent_id in known:
                self._below.setdefault(span.parent_id, []).append(span)
            else:
                self._roots.append(span)

    def entries(self) -> Iterator[Span]:
        """What is contained in nothing else, a cause before its effects, else by time."""
        waiting: list[tuple[int, int, Span]] = []
        self._wait_for(waiting, self._roots)
        while waiting:
            _, _, entry = heappop(waiting)
            yield entry
            for span in self._family(entry):
                self._wait_for(waiting, self._below.get(span.span_id, ()))

    def _wait_for(self, waiting: list[tuple[int, int, Span]], spans: Iterable[Span]) -> None:
        for span in spans:
            heappush(waiting, (span.start_us, next(self._numbers), span))

    def steps(self, span: Span, depth: int) -> Iterator[StoryStep]:
        """The step of a span, and those inside of it."""
        inside = sorted(self._inside.get(span.span_id, ()), key=_start)
        marks = self._marks(span)
        if span.action == "deliver" and len(inside) == 1 and inside[0].action == "attempt":
            # One attempt that is all of its delivery: one line for both.
            attempt = inside[0]
            marks += self._marks(attempt)
            inside = sorted(self._inside.get(attempt.span_id, ()), key=_start)
            yield self._step(span, depth, (*marks, *_commits(inside), *_crash(span)))
        else:
            yield self._step(span, depth, (*marks, *_commits(inside), *_crash(span)))
        for part in inside:
            if not _is_plain_commit(part):
                yield from self.steps(part, depth + 1)

    def _step(self, span: Span, depth: int, marks: Iterable[Mark]) -> StoryStep:
        return StoryStep(
            depth=depth,
            service=span.service,
            text=self._text(span),
            start_us=span.start_us,
            end_us=span.end_us,
            failure=_failure(span),
            is_wait=span.action == "wait",
            marks=tuple(sorted(marks, key=lambda mark: mark.at_us)),
        )

    def _marks(self, span: Span) -> list[Mark]:
        found = [mark for moment in span.moments if (mark := _mark(moment)) is not None]
        return [*found, *self._facts.get(span.span_id, ())]

    def _family(self, span: Span) -> Iterator[Span]:
        yield span
        for part in self._inside.get(span.span_id, ()):
            yield from self._family(part)

    def _text(self, span: Span) -> str:
        told = span.attributes
        match span.action:
            case "request":
                return _request(span)
            case "deliver":
                again = " again" if span.span_id in self._again else ""
                return f"gets {told.get('lab.event_type', 'an event')}{again}"
            case "attempt":
                return f"attempt {told.get('lab.attempt', '')}"
            case "call":
                return f"calls {told.get('lab.provider')}: {told.get('lab.action')}"
            case "commit":
                return "commits"
            case "wait":
                return f"waits in retry topic {str(told.get('lab.tier', '')).partition('.')[2]}"
            case "publish":
                event = self._event_types.get(str(told.get("messaging.message.id")), "")
                topic = str(told.get("messaging.destination.name", ""))
                if topic.endswith(".dlq"):
                    return f"puts it into the dead-letter queue {topic}"
                to = f" to {topic}" if topic else ""
                return f"publishes {event or 'an event'}{to}"
            case _:
                return span.name


def _start(span: Span) -> int:
    return span.start_us


def _request(span: Span) -> str:
    if span.service == "client":
        return f"sends {span.name}{' again' if span.attributes.get('lab.send', 1) != 1 else ''}"
    return "answers the request" if span.name == "request" else f"answers {span.name}"


def _is_plain_commit(span: Span) -> bool:
    return (
        span.action == "commit"
        and span.outcome == "success"
        and not span.moments
        and span.end_us - span.start_us <= _SHORT_US
    )


def _commits(inside: Iterable[Span]) -> Iterator[Mark]:
    """Commits that nothing is to be said of stand as marks on the line of their attempt."""
    for span in inside:
        if _is_plain_commit(span):
            result = str(span.attributes.get("lab.result", "committed"))
            said = "commit" if result == "committed" else f"commit: {result.replace('_', ' ')}"
            yield Mark(at_us=span.end_us, sign=Sign.NOTE, text=said)


def _crash(span: Span) -> Iterator[Mark]:
    if span.error in KILLED:
        yield Mark(at_us=span.end_us, sign=Sign.CRASH, text=f"{span.node} was killed here")


def _failure(span: Span) -> str:
    if span.error in KILLED or span.error == "cancelled":
        # The mark says where, and with it the process.
        return "" if span.error in KILLED else span.error
    if span.error == "no_answer":
        return "no answer"
    if span.error:
        return f"failed: {span.error}"
    if span.outcome == "failure":
        return "failed"
    settlement = str(span.attributes.get("lab.settlement", ""))
    return {"release": "given back", "stale": "no longer its own"}.get(settlement, "")


def _mark(moment: SpanMoment) -> Mark | None:
    """The mark of what happened at one moment; None if that says nothing new."""
    name, told = moment.name, moment.attributes
    if name in _SILENT:
        return None
    sign = Sign.NOTE
    if name == "lab.fault":
        sign, text = Sign.FAULT, f"fault {_where(told['lab.fault.kind'], told)}"
    elif name == "dead_letter":
        sign = Sign.DEAD
        attempts = times(int(told["lab.attempts"]), "attempt")
        text = f"dead letter: {str(told['lab.reason']).replace('_', ' ')}, after {attempts}"
    elif name == "retry":
        topic = str(told["lab.tier"]).partition(".")[2]
        text = f"to retry topic {topic}, " if topic else ""
        text += f"again in {length(int(told['lab.delay_ms']) * 1_000)}"
    else:
        sign = Sign.SUPPRESSED if name.endswith(".suppressed") else Sign.NOTE
        text = deed(*name.split(".", 1)) if "." in name else name.replace("_", " ")
    return Mark(at_us=moment.at_us, sign=sign, text=text)


def _meanwhile(line: LogLine) -> StoryStep | None:
    """What happened to a process of the run, or to a server; None if it is about something else."""
    told = line.attributes
    if line.action == "process" and told.get("lab.process") in _LIVES:
        does = str(told["lab.process"])
        # The first life of a process begins with the run.
        if does == "start" and "#" not in line.node:
            return None
        sign = Sign.CRASH if does in ("kill", "exited", "aborted") else Sign.NOTE
        return _moment(line, service_of(line.node), sign, f"{line.node} {_LIVES[does]}")
    if line.action == "fault":
        return _moment(line, FAULT, Sign.FAULT, _where(told["lab.fault.kind"], told))
    if line.action == "fault-end":
        text = f"{_where(told['lab.fault.kind'], told)} is over"
        return _moment(line, FAULT, Sign.NOTE, text)
    if line.action == "breaker":
        state = str(told["lab.breaker"]).replace("_", " ")
        text = f"its breaker for {told['lab.dependency']} is {state}"
        return _moment(line, line.service, Sign.NOTE, text)
    return None


def _where(kind: object, told: Attributes) -> str:
    """A fault and the place where it struck."""
    site = told["lab.fault.site"]
    return str(kind) if site == ANYWHERE else f"{kind} at {site}"


def _moment(line: LogLine, service: str, sign: Sign, text: str) -> StoryStep:
    mark = Mark(at_us=line.at_us, sign=sign, text=text)
    return StoryStep(
        depth=0,
        service=service,
        text=text,
        start_us=line.at_us,
        end_us=line.at_us,
        marks=(mark,),
    )
