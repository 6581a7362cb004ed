"""The outcome of a run, in the words of `result.json`. Not here: judging, and the page."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

import lab
from lab import patterns
from lab.checks.check import Finding
from lab.checks.checker import Checker
from lab.checks.run_numbers import Acted
from lab.checks.verdict import Goal, RunVerdict, judge_run
from lab.domain.envelope import format_time
from lab.faults.plan.asked import never_fired
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.spec import ordinal_of
from lab.report.result import (
    SCHEMA_VERSION,
    CheckResult,
    Costs,
    Fault,
    GoalResult,
    OrderCounts,
    OrdersRead,
    PatternUse,
    Result,
    Times,
    UnreadableOrder,
    VerdictName,
    Versions,
)
from lab.scenarios.client import Tally
from lab.scenarios.workload import Workload
from lab.wiring.backends.interface import Survey
from lab.wiring.reproduce import as_value, reproduce_line
from lab.wiring.spec import RunSpec

_HIT_SHOWN: Final = 10
_UNREADABLE_SHOWN: Final = 10

SAVED_BY: Final[Mapping[str, tuple[tuple[str, str, str], ...]]] = {
    "dedupe": (("inbox", "suppressed", "the inbox stopped {n} duplicates"),),
    "inbox": (("dedupe", "suppressed", "dedupe stopped {n} duplicates"),),
}
"""Which other layer did the work of a pattern that is off: pattern, deed, sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A world at the end of its run: the contents of its store, its debts, and the time.

    Attributes:
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
    """

    survey: Survey
    owed: Mapping[str, int]
    now_us: int
    epoch_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run that is over, with the findings in its history.

    Attributes:
        tally: of the client.
        plan: of the faults; it holds those that fired.
        checker: None if nobody observed the run.
        digest: of the history; "" outside the simulated world.
        entries: of the history.
        wall_ms: from the first order to the last check.
        is_partial: Ctrl-C came before its end.
        kept: the name of the run on the servers, if anything of it stays there by `--keep`.
        left: sentences about things that could not be removed from the servers.
    """

    spec: RunSpec
    workload: Workload
    tally: Tally
    end: End
    plan: FaultPlan
    checker: Checker | None
    findings: tuple[Finding, ...]
    digest: str
    entries: int
    wall_ms: int
    is_partial: bool
    kept: str | None = None
    left: tuple[str, ...] = ()


def make_result(ran: Ran, goals: Sequence[Goal]) -> Result:
    """The result of an observed run."""
    spec, checker = ran.spec, ran.checker
    assert checker is not None, "only an observed run has a result"
    scenario, acted = spec.scenario, checker.acted
    unfired = tuple(fault.text for fault in never_fired(ran.plan, spec.asked))
    judged = judge_run(
        ran.findings, acted, goals=goals, listed=_listed(spec), off=spec.off, never_fired=unfired
    )
    verdict, why = _verdict(judged, ran)
    return Result(
        schema_version=SCHEMA_VERSION,
        scenario=scenario.name,
        summary=scenario.summary,
        mode=spec.world.mode,
        bus=spec.world.bus,
        store=spec.world.store,
        dedupe=spec.world.dedupe,
        seed=spec.seed,
        off=spec.off,
        beyond_contract=spec.beyond,
        verdict=verdict,
        why=why,
        partial=ran.is_partial,
        orders=_orders(ran),
        unreadable_lines=_unreadable(ran.workload),
        input=_read(ran),
        refused_orders=tuple(ran.tally.file.refused),
        checks=tuple(_check(finding, spec) for finding in ran.findings),
        not_exercised=tuple(f.name for f in ran.findings if f.verdict.value == "UNKNOWN"),
        faults=_faults(acted, spec),
        never_fired=unfired,
        notes=(*_notes(spec), *ran.left),
        patterns=_patterns(acted, spec),
        goals=_goals(judged),
        metrics=_metrics(ran, acted),
        time=_times(ran),
        history_entries=ran.entries,
        digest=ran.digest,
        reproduce=reproduce_line(spec),
        next=scenario.next,
        settings_profile=spec.settings.profile,
        settings=dict(spec.settings.values),
        options=_options(spec),
        run_dir=None,
        kept=ran.kept,
        versions=Versions(lab=lab.__version__, python=platform.python_version()),
    )


def _options(spec: RunSpec) -> dict[str, str | int | float | bool | list[str] | None]:
    return {
        "orders": spec.orders,
        "rate": spec.rate,
        "orders_from": spec.orders_from,
        "speed": spec.options.speed,
        "faults": [fault.text for fault in spec.faults],
        "history": spec.options.history,
    }


def _verdict(judged: RunVerdict, ran: Ran) -> tuple[VerdictName, str]:
    """The verdict and its reason; what only seems to be a PASS is none."""
    if ran.spec.beyond:
        return "UNKNOWN", _why(judged, ran)
    if judged.verdict.value == "PASS":
        left_out = _mostly_left_out(ran)
        if left_out or ran.is_partial:
            return "UNKNOWN", left_out or _why(judged, ran)
    return judged.verdict.value, _why(judged, ran)


def _times(ran: Ran) -> Times:
    return Times(
        virtual_ms=ran.end.now_us // 1_000,
        wall_ms=ran.wall_ms,
        epoch=format_time(ran.end.epoch_us).decode(),
    )


def beside(result: Result, calm: Result) -> Result:
    """The result with the costs of the same load without faults; an interrupted one has none."""
    if calm.partial:
        why = "interrupted while the same load ran without faults"
        whys = f"{result.why}; {why}" if result.why else why
        return msgspec.structs.replace(result, partial=True, why=whys)
    costs = Costs(metrics=calm.metrics, virtual_ms=calm.time.virtual_ms, digest=calm.digest)
    return msgspec.structs.replace(result, without_faults=costs)


def _listed(spec: RunSpec) -> tuple[str, ...]:
    """The promises that the scenario is about, as far as they are judged."""
    return tuple(name for name in spec.scenario.promises if not spec.only or name in spec.only)


def _why(judged: RunVerdict, ran: Ran) -> str:
    """The reason of the verdict: the witness, the goal, or the layer that saved it."""
    if ran.is_partial:
        return "interrupted: only what happened until then was judged" + (
            f"; {judged.why}" if judged.why else ""
        )
    off = ran.spec.off
    if ran.spec.beyond:
        beyond = f"beyond the contract: {', '.join(ran.spec.beyond)}"
        return f"{beyond}; as was to be expected, {judged.why}" if judged.why else beyond
    if judged.verdict.value == "FAIL":
        return f"{judged.why}; {_instead(off)}" if off else judged.why
    if judged.why:
        return judged.why
    assert ran.checker is not None
    saved = [
        f"{name} is off: {sentence.format(n=count)}"
        for name in off
        for other, deed, sentence in SAVED_BY.get(name, ())
        if other not in off and (count := ran.checker.acted.happened(f"{other}.{deed}"))
    ]
    return "; ".join(saved)


def _instead(off: Sequence[str]) -> str:
    """The substitutes of the patterns that are off, in sentences."""
    weak = {pattern.name: pattern.when_off for pattern in patterns.PATTERNS}
    return "; ".join(f"{name} is off: {weak[name]}" for name in off)


def _unreadable(workload: Workload) -> tuple[UnreadableOrder, ...]:
    return tuple(
        UnreadableOrder(line=bad.line, reason=bad.reason)
        for bad in workload.unreadable_lines[:_UNREADABLE_SHOWN]
    )


def _read(ran: Ran) -> OrdersRead | None:
    given = ran.workload.given
    if given is None:
        return None
    return OrdersRead(
        rows=given.rows,
        orders=given.orders,
        unreadable=given.unreadable,
        amounts=dict(sorted(ran.tally.file.amounts.items())),
        first_at=given.first_at,
        last_at=given.last_at,
        before_predecessor=given.before_predecessor,
    )


def _mostly_left_out(ran: Ran) -> str:
    """Why a file proves nothing, in a sentence: most of it was not run; "" if that is not so."""
    given, file = ran.workload.given, ran.tally.file
    if given is None:
        return ""
    if given.unreadable * 2 > given.rows:
        return f"most of the file could not be read: {given.unreadable:,} of {given.rows:,} rows"
    if file.refusals > file.taken:
        posted = file.refusals + file.taken
        return f"most orders of the file were refused: {file.refusals:,} of {posted:,}"
    return ""


def _check(finding: Finding, spec: RunSpec) -> CheckResult:
    return CheckResult(
        name=finding.name,
        kind=finding.kind.value,
        verdict=finding.verdict.value,
        checked=finding.checked,
        violations=finding.violations,
        witness=finding.witness or finding.note,
        witness_order=ordinal_of(finding.subject) if finding.subject else None,
        at_risk=finding.name in spec.scenario.promises,
        expected=bool(spec.beyond) and finding.verdict.value == "FAIL",
    )


def _faults(acted: Acted, spec: RunSpec) -> tuple[Fault, ...]:
    """Every kind that fired, with the first orders it hit, then those that were asked in vain."""
    # What a swarm drew was asked for by nobody.
    asked = [one.kind for one in (*spec.faults[: len(spec.scenario.faults)], *spec.asked)]
    in_vain = (kind for kind in dict.fromkeys(asked) if kind not in acted.faults)
    fired = tuple(
        Fault(
            name=name,
            fired=firings.fired,
            orders=tuple(dict.fromkeys(map(ordinal_of, firings.orders)))[:_HIT_SHOWN],
        )
        for name, firings in acted.faults.items()
        if "@" not in name
    )
    return (*fired, *(Fault(name=kind, fired=0, orders=()) for kind in in_vain))


def _notes(spec: RunSpec) -> tuple[str, ...]:
    """Facts that a reader of the faults should know."""
    counted = [fault.text for fault in spec.faults if fault.max_firings]
    note = (
        f"{', '.join(counted)}: max counts over the run, so a higher rate need not contain the "
        "faults of a lower one, and a pattern that is off may move them"
    )
    return (*_drawn(spec), *((note,) if counted else ()))


def _drawn(spec: RunSpec) -> tuple[str, ...]:
    """The draw of a swarm's seed: enough to write a scenario of it."""
    if spec.drawn is None:
        return ()
    drawn = [f"--fault '{text}'" for text in spec.drawn.faults]
    drawn += [f"--set {name}={as_value(one)}" for name, one in spec.drawn.settings.items()]
    return (f"seed {spec.seed} drew {' '.join(drawn)}",)


def _patterns(acted: Acted, spec: RunSpec) -> tuple[PatternUse, ...]:
    """The deeds of each pattern; one that is off has none, whatever its substitute left behind."""
    return tuple(
        PatternUse(
            name=name,
            on=name not in spec.off,
            acted={} if name in spec.off else dict(acted.acted.get(name, {})),
        )
        for name in patterns.NAMES
    )


def _goals(judged: RunVerdict) -> tuple[GoalResult, ...]:
    return tuple(
        GoalResult(
            goal=goal.goal,
            reached=goal.is_reached,
            applicable=goal.is_applicable,
            count=goal.count,
        )
        for goal in judged.goals
    )


def _orders(ran: Ran) -> OrderCounts:
    """The tally; intents that were not answered are settled by the stored orders."""
    tally, survey = ran.tally, ran.end.survey
    accepted, refused = tally.accepted, tally.refused
    reasons = dict(tally.refused_by_reason)
    if tally.open:
        stored = set(survey.subjects)
        for name, key in tally.open.items():
            ordinal = name.partition(".")[0]
            if (any(s.partition(".")[0] == ordinal for s in stored)) if key else name in stored:
                accepted += 1
            else:
                refused += 1
                reasons["unanswered"] = reasons.get("unanswered", 0) + 1
    return OrderCounts(
        read=ran.workload.read,
        unreadable=ran.workload.unreadable,
        submitted=tally.submitted,
        accepted=accepted,
        refused=refused,
        refused_by_reason=dict(sorted(reasons.items())),
        by_state=dict(survey.by_state),
    )


def _metrics(ran: Ran, acted: Acted) -> dict[str, float]:
    """Numbers that break no promise; lengths in milliseconds of virtual time."""
    orders = max(acted.orders, 1)
    ended = acted.to_terminal
    stopped = acted.happened("dedupe.suppressed") + acted.happened("inbox.suppressed")
    return {
        "deliveries": acted.deliveries,
        "deliveries_per_order": round(acted.deliveries / orders, 3),
        "attempts_per_order": round(acted.attempts / orders, 3),
        "calls_per_order": round(acted.calls / orders, 3),
        "duplicates": stopped + acted.done_again,
        "duplicates_stopped": stopped,
        "retries": acted.happened("retry.retried"),
        "timeouts": acted.happened("timeout.unanswered") + acted.happened("timeout.handler"),
        "dead_letters": acted.happened("dead_letter.dead_lettered"),
        "shed": acted.shed,
        "in_hand_max": acted.in_hand,
        "to_terminal_p50_ms": ended.percentile(50) / 1_000,
        "to_terminal_p95_ms": ended.percentile(95) / 1_000,
        "to_terminal_p99_ms": ended.percentile(99) / 1_000,
        "to_terminal_max_ms": ended.largest_us / 1_000,
        "recovery_ms": acted.recovery_us / 1_000,
        "open_intents": ran.end.survey.open_intents,
    }
