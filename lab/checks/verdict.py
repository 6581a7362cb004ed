"""The verdict on a run, made of its findings, its goals and its limiter.

FAIL if a promise was broken. Else UNKNOWN if the run proves nothing: a fault that was asked for
never fired, a goal was not reached, a promise that the scenario is about was not exercised, a check
could not tell (`Finding.doubt`), or a limiter tripped without being the goal. Else PASS. What only
a switched-off part can reach is "not applicable", never UNKNOWN. Not here: the findings (`check`),
the numbers that goals are about (`run_numbers`), and which faults fired
(`lab.faults.plan.asked`).
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from lab.checks.check import Finding, Verdict, times
from lab.checks.run_numbers import Acted

_GOAL: Final = re.compile(
    r"(?P<name>[A-Za-z][\w.@-]*?(->[A-Z_]+)?)\s*>=\s*(?P<number>\d{1,9}(\.\d{1,6})?)\s*(?P<percent>%?)"
)

SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "dedupe-sound": ("dedupe", "inbox"),
    "claim-returned": ("dedupe",),
    "dlq-sound": ("dead_letter",),
    "dlq-complete": ("dead_letter",),
    "retry-law": ("retry",),
    "retry-budget": ("retry",),
}
"""Promises whose subject only these patterns bring about: with all of them off there is none."""

SITES: Final[Mapping[str, str]] = {
    "relay.": "outbox",
    "dedupe.": "dedupe",
    "retry.": "retry",
    "dlq.": "dead_letter",
    "shutdown.": "drain",
}
"""Crash points that exist only with a pattern, by how they begin."""

NEEDS: Final[Mapping[str, str]] = {
    "redis.evict": "dedupe",
    "redis.early_expire": "dedupe",
    "redis.slow": "dedupe",
}
"""Faults that strike only what a pattern does."""

STATES: Final[Mapping[str, str]] = {
    "REFUND_PENDING": "compensation",
    "REFUNDED": "compensation",
    "REFUND_FAILED": "compensation",
}
"""States that an order reaches only with a pattern."""


class GoalError(ValueError):
    """A goal cannot be read; the message shows it and an example."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must really have happened for the run to mean anything.

    Attributes:
        name: see `Acted.happened`.
        at_least: a number, or a share of the accepted orders in per cent.
    """

    text: str
    name: str
    at_least: float
    is_share: bool

    def wanted(self, accepted: int) -> int:
        """How often it must have happened, at least once."""
        least = self.at_least * accepted / 100 if self.is_share else self.at_least
        return max(math.ceil(least), 1)


class GoalFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a goal was reached. One that is not applicable counts for nothing."""

    goal: str
    count: int
    wanted: int
    is_reached: bool
    is_applicable: bool


class RunVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict, its reason in one sentence ("" for a PASS), and each goal's outcome."""

    verdict: Verdict
    why: str
    goals: tuple[GoalFinding, ...]


def parse_goal(text: str) -> Goal:
    """A goal out of a scenario, such as `bus.duplicate >= 4 %` or `REFUNDED >= 1`.

    Raises:
        GoalError: it is none.
    """
    found = _GOAL.fullmatch(text.strip())
    if found is None:
        raise GoalError(f"{text!r} is no goal; one looks like: bus.duplicate >= 4 %, REFUNDED >= 1")
    return Goal(
        text=text,
        name=found["name"],
        at_least=float(found["number"]),
        is_share=bool(found["percent"]),
    )


def judge_run(
    findings: Sequence[Finding],
    acted: Acted,
    *,
    goals: Sequence[Goal],
    listed: Collection[str],
    off: Collection[str],
    never_fired: Sequence[str] = (),
) -> RunVerdict:
    """The verdict on a run that has come to its end.

    Args:
        findings: of all promises that were judged.
        acted: the numbers of the run.
        goals: of the scenario.
        listed: promises that the scenario is about.
        off: patterns that were switched off.
        never_fired: faults that the caller asked for and that did not happen once, as written.
    """
    reached = tuple(_reached(goal, acted, off) for goal in goals)
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    if failed:
        names = ", ".join(finding.name for finding in failed)
        verdict, why = Verdict.FAIL, f"{times(len(failed), 'promise')} broken: {names}"
    else:
        why = _unfired(never_fired, off) or _unproven(findings, acted, reached, listed, off)
        verdict = Verdict.UNKNOWN if why else Verdict.PASS
    return RunVerdict(verdict=verdict, why=why, goals=reached)


def _unfired(faults: Sequence[str], off: Collection[str]) -> str:
    """Why a run proves nothing about the faults that it was made for; "" if each has happened."""
    missed = [fault for fault in faults if _producer(fault.split()[0]) not in off]
    if not missed:
        return ""
    what = "a fault that was" if len(missed) == 1 else "faults that were"
    return f"{what} asked for never fired: {'; '.join(missed)}"


def _unproven(
    findings: Sequence[Finding],
    acted: Acted,
    goals: Sequence[GoalFinding],
    listed: Collection[str],
    off: Collection[str],
) -> str:
    """Why a run without a broken promise proves nothing; "" if it proves something."""
    for goal in goals:
        if goal.is_applicable and not goal.is_reached:
            return f"the goal {goal.goal} was not reached: it happened {goal.count} times"
    for finding in findings:
        if finding.doubt:
            return finding.doubt
        if finding.name in listed and finding.verdict is Verdict.UNKNOWN:
            parts = SUBJECTS.get(finding.name)
            if parts is None or not set(parts) <= set(off):
                return f"{finding.name} was not exercised"
    if acted.limited and not any(goal.goal.startswith("limiter") for goal in goals):
        return "too much died: the limiter of the dead-letter queue paused a subscription"
    return ""


def _reached(goal: Goal, acted: Acted, off: Collection[str]) -> GoalFinding:
    count, wanted = acted.happened(goal.name), goal.wanted(acted.orders)
    if goal.is_share and goal.name in acted.faults:
        # A share of the orders: an order that was hit twice counts once.
        count = len(acted.faults[goal.name].orders) or count
    return GoalFinding(
        goal=goal.text,
        count=count,
        wanted=wanted,
        is_reached=count >= wanted,
        is_applicable=count >= wanted or _producer(goal.name) not in off,
    )


def _producer(name: str) -> str:
    """The pattern without which a goal cannot be reached, "" if there is none."""
    name = name.rsplit("->", maxsplit=1)[-1]
    if name in STATES:
        return STATES[name]
    kind, _, site = name.partition("@")
    if kind in NEEDS:
        return NEEDS[kind]
    for begin, pattern in SITES.items():
        if site.startswith(begin):
            return pattern
    return "" if site else name.partition(".")[0]
