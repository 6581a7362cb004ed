"""Which of the faults that were asked for never fired: then the run says nothing about them.

A firing keeps its kind and site, not the fault that asked for it. So it is held against each fault
once more: its order, its visit, its time, its coin and its parameters. Not here: the decision that
a fault fires (`plan.py`), and the verdict on the run (`lab.checks.verdict`).
"""

from collections.abc import Sequence

from lab.faults.plan.conditions import counts
from lab.faults.plan.file import Firing
from lab.faults.plan.plan import FaultPlan, intent_of
from lab.faults.table.spec import FaultSpec, Value, ordinal_of


def never_fired(plan: FaultPlan, asked: Sequence[FaultSpec]) -> tuple[FaultSpec, ...]:
    """Those of `asked` that account for no firing of the run, in their order.

    Args:
        plan: of the run, at its end.
        asked: faults of that plan.
    """
    timed = [spec for spec in plan.specs if spec.is_timed]
    return tuple(
        spec
        for spec in asked
        if not any(_accounts_for(plan, timed, spec, firing) for firing in plan.firings)
    )


def _accounts_for(
    plan: FaultPlan, timed: Sequence[FaultSpec], spec: FaultSpec, firing: Firing
) -> bool:
    """Whether the fault can have asked for the firing."""
    if spec.kind != firing.kind:
        return False
    if spec.is_timed or firing.is_timed:
        # It fires once, and has its number from the timetable.
        return spec.is_timed and firing.is_timed and timed[firing.occurrence - 1] == spec
    if firing.site not in spec.sites or not counts(spec, firing.occurrence):
        return False
    if spec.subjects is not None and not spec.subjects.chooses(ordinal_of(firing.subject)):
        return False
    if firing.t_us < spec.at_us or (spec.until_us is not None and firing.t_us >= spec.until_us):
        return False
    if any(not _is_of(spec.params.get(name), value) for name, value in firing.params.items()):
        return False
    key = (firing.kind, firing.site, intent_of(firing.subject), firing.occurrence)
    return spec.rate >= 1.0 or plan.chance.u("fault", *key) < spec.rate


def _is_of(asked: Value | None, value: int | str) -> bool:
    """Whether a parameter of a firing is what was asked for, or lies in its span."""
    if isinstance(asked, tuple):
        return isinstance(value, int) and asked[0] <= value <= asked[1]
    return asked == value
