"""The log lines of one process life: what an operator must see, one line each.

Orders that go well leave no line. Not here: lines that a process writes by itself, such as at its
start (`ecs`), and how often the same line may be repeated (`ecs`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lab.history.entries import Entry
from lab.observe.model import Attributes, Level, LogLine, Outcome, Span
from lab.observe.open_spans import Emit, OpenSpans
from lab.observe.traces import Traces, span_id

STALL_US: Final = 1_000_000
"""A busy machine lets every process stand still for less than this, all day long."""
_LIFE: Final[Mapping[str, tuple[Level, Outcome, str]]] = {
    "start": ("info", "success", "the process starts"),
    "kill": ("error", "failure", "the process was killed"),
    "exited": ("error", "failure", "the process has ended by itself"),
    "term": ("info", "success", "the process is told to stop"),
    "pause": ("warning", "unknown", "the process is stopped by a signal"),
    "resume": ("info", "success", "the process goes on"),
    "stopped": ("info", "success", "the process has stopped"),
    "aborted": ("error", "failure", "the process was aborted"),
}
_PATTERNS_SAID: Final = {
    ("load_shedding", "shed"): ("warning", "the API has too much in hand: a request was shed"),
}
_HOW_TO_LOOK: Final = "lab dlq show"


class LineMaker:
    """Makes lines of the entries that deserve one.

    Args:
        process: the process life.
        service: its role.
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        traces: see `Traces`.
        emit: see `Emit`.
    """

    def __init__(
        self, process: str, service: str, *, epoch_us: int, traces: Traces, emit: Emit
    ) -> None:
        self._process = process
        self._service = service
        self._epoch_us = epoch_us
        self._traces = traces
        self._emit = emit
        self._moment_us = -1
        self._said: dict[str, int] = {}
        self._makes: Mapping[object, Callable[[Any, OpenSpans], None]] = {
            "buried": self._buried,
            "retrying": self._retrying,
            "breaker": self._breaker,
            "owned": self._owned,
            "lost": self._lost,
            "revoked": self._revoked,
            "paused": self._paused,
            "drained": self._drained,
            "redriven": self._redriven,
            "life": self._life,
            "stalled": self._stalled,
            "failed": self._failed,
            "fault": self._fault,
            "fault_end": self._fault_end,
            "phase": self._phase,
            "acted": self._acted,
        }

    def take(self, entry: Entry, spans: OpenSpans) -> None:
        """The next entry, and what is open while it is taken."""
        make = self._makes.get(entry[0])
        if make is not None:
            make(entry, spans)

    # ---- about an order

    def _buried(self, entry: Any, spans: OpenSpans) -> None:
        _, t_us, _, subject, group, event_id, reason, attempts, starts, redrives = entry
        self._say(
            t_us,
            "error",
            f"dead letter: event {event_id} of group {group} after {attempts} attempts ({reason})",
            "dead-letter",
            outcome="failure",
            subject=subject,
            span=spans.latest(subject),
            error=reason,
            attributes={
                "messaging.consumer.group.name": group,
                "messaging.message.id": event_id,
                "lab.reason": reason,
                "lab.attempts": attempts,
                "lab.starts": starts,
                "lab.redrives": redrives,
            },
        )

    def _retrying(self, entry: Any, spans: OpenSpans) -> None:
        _, t_us, _, subject, group, event_id, attempt, error_class, where, delay_us = entry
        if not where.startswith("tier."):
            return
        self._say(
            t_us,
            "warning",
            f"attempt {attempt} at event {event_id} failed: again in {delay_us // 1000} ms",
            "retry",
            outcome="failure",
            subject=subject,
            span=spans.latest(subject),
            error=error_class,
            attributes={
                "messaging.consumer.group.name": group,
                "messaging.message.id": event_id,
                "lab.attempt": attempt,
                "lab.tier": where,
                "lab.delay_ms": delay_us // 1000,
            },
        )

    def _redriven(self, entry: Any, spans: OpenSpans) -> None:
        _, t_us, _, subject, group, event_id, answer, redrives = entry
        self._say(
            t_us,
            "info",
            f"a dead letter was {answer}: event {event_id} of group {group}",
            "redrive",
            subject=subject,
            span=spans.latest(subject),
            attributes={
                "messaging.consumer.group.name": group,
                "messaging.message.id": event_id,
                "lab.redrives": redrives,
            },
        )

    def _acted(self, entry: Any, spans: OpenSpans) -> None:
        _, t_us, _, subject, pattern, what = entry
        said = _PATTERNS_SAID.get((pattern, what))
        if said is not None:
            level, message = said
            self._say(
                t_us,
                "warning" if level == "warning" else "info",
                message,
                what,
                outcome="failure",
                subject=subject,
                span=spans.latest(subject),
                attributes={"labels.pattern": pattern},
            )

    def _fault(self, entry: Any, spans: OpenSpans) -> None:
        _, t_us, _, subject, kind, site, occurrence, lasts_us = entry
        self._say(
            t_us,
            "warning",
            f"a fault strikes on purpose: {kind} at {site}",
            "fault",
            outcome="failure",
            subject=subject,
            span=spans.latest(subject),
            attributes={
                "lab.fault.kind": kind,
                "lab.fault.site": site,
                "lab.occurrence": occurrence,
                "lab.lasts_ms": lasts_us // 1000,
            },
        )

    # ---- about the process

    def _breaker(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, dependency, state = entry
        self._say(
            t_us,
            "info" if state == "closed" else "warning",
            f"the breaker of {dependency} is {state}",
            "breaker",
            outcome="success" if state == "closed" else "failure",
            attributes={"lab.dependency": dependency, "lab.breaker": state},
        )

    def _owned(self, entry: Any, _: OpenSpans) -> None:
        self._rebalance(entry, "owns")

    def _revoked(self, entry: Any, _: OpenSpans) -> None:
        self._rebalance(entry, "has given back")

    def _rebalance(self, entry: Any, does: str) -> None:
        _, t_us, _, _, group, epoch, partitions = entry
        self._say(
            t_us,
            "info",
            f"a rebalance of group {group}: this member {does} {len(partitions)} partitions",
            "rebalance",
            attributes={
                "messaging.consumer.group.name": group,
                "lab.epoch": epoch,
                "lab.partitions": len(partitions),
            },
        )

    def _lost(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, group, topic, partition, offset, until = entry
        gone = f"offsets {offset} to {until - 1} are gone"
        if until <= offset:
            gone = f"its log is another one: offset {offset} is not in it, it is read from {until}"
        self._say(
            t_us,
            "error",
            f"events are lost to group {group}: of topic {topic}, partition {partition}, {gone}",
            "lost-offsets",
            outcome="failure",
            error="lost_offsets",
            attributes={
                "messaging.consumer.group.name": group,
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(partition),
                "messaging.kafka.offset": offset,
                "lab.until": until,
            },
        )

    def _paused(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, group, why, for_us = entry
        self._say(
            t_us,
            "warning",
            f"group {group} starts nothing for {for_us // 1000} ms: {why}",
            "pause",
            outcome="failure",
            duration_us=for_us,
            error=why,
            attributes={"messaging.consumer.group.name": group},
        )

    def _drained(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, group, drained, cancelled, abandoned = entry
        clean = not cancelled and not abandoned
        self._say(
            t_us,
            "info" if clean else "warning",
            f"group {group} has drained: {drained} done, {cancelled} cancelled, "
            f"{abandoned} abandoned",
            "drain",
            outcome="success" if clean else "failure",
            attributes={
                "messaging.consumer.group.name": group,
                "lab.drained": drained,
                "lab.cancelled": cancelled,
                "lab.abandoned": abandoned,
            },
        )

    def _life(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, event = entry
        level, outcome, message = _LIFE[event]
        self._say(
            t_us, level, message, "process", outcome=outcome, attributes={"lab.process": event}
        )

    def _stalled(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, for_us = entry
        if for_us < STALL_US:
            return
        self._say(
            t_us,
            "warning",
            f"the process stood still for {for_us // 1000} ms",
            "stall",
            outcome="unknown",
            duration_us=for_us,
        )

    def _failed(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, subject, where, error = entry
        self._say(
            t_us,
            "error",
            f"nobody expected {error} in a {where}",
            "unexpected",
            subject=subject,
            outcome="failure",
            error=error,
        )

    def _fault_end(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, kind, site = entry
        attributes: Attributes = {"lab.fault.kind": kind, "lab.fault.site": site}
        self._say(
            t_us, "info", f"the fault is over: {kind} at {site}", "fault-end", attributes=attributes
        )

    def _phase(self, entry: Any, _: OpenSpans) -> None:
        _, t_us, _, _, name = entry
        self._say(t_us, "info", f"phase {name} of the run", "phase", attributes={"lab.phase": name})

    def _say(
        self,
        t_us: int,
        level: Level,
        message: str,
        action: str,
        *,
        outcome: Outcome = "success",
        subject: str = "",
        span: Span | None = None,
        duration_us: int | None = None,
        error: str = "",
        attributes: Attributes | None = None,
    ) -> None:
        at_us = self._epoch_us + t_us
        identity = span_id(self._process, at_us, action, subject, message)
        if t_us != self._moment_us:
            self._moment_us, self._said = t_us, {}
        number = self._said[identity] = self._said.get(identity, 0) + 1
        trace = self._traces.of(subject)
        self._emit(
            LogLine(
                at_us=at_us,
                id=identity if number == 1 else span_id(identity, number),
                level=level,
                message=message,
                action=action,
                service=self._service,
                node=self._process,
                outcome=outcome,
                subject=subject,
                trace_id=trace,
                span_id="" if span is None else span.span_id,
                entry_id="" if span is None else span.entry_id,
                duration_us=duration_us,
                error=error,
                attributes=attributes or {},
            )
        )
