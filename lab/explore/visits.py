"""A run of an explicit plan, and every visit at which one more fault could have struck it.

The injectors of all kinds that are proven stand in every run, whatever its plan is. So two runs
whose plans have the same first faults are one run up to the next one. Not here: which plans are
run (`proving`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from lab.faults.plan.file import Firing
from lab.faults.plan.plan import FaultPlan, Site, intent_of
from lab.faults.table.crash_points import ANY
from lab.faults.table.kinds import KINDS
from lab.wiring.many_runs import judged
from lab.wiring.outcome import Ran
from lab.wiring.spec import RunSpec

PROVEN: Final[Mapping[str, str]] = {
    "proc.crash": "crash points",
    "bus.duplicate": "duplicates",
    "bus.drop_ack": "deliveries",
    "bus.drop_publish": "deliveries",
    "bus.publish_unknown": "lost answers",
    "svc.timeout": "lost answers",
    "svc.hang_after_effect": "lost answers",
    "pg.conn_loss_before_commit": "lost answers",
    "pg.conn_loss_after_commit": "lost answers",
    "redis.evict": "lost claims",
}
"""The kinds of fault that are proven, and what they stand for. None of them has a length or a rate:
one visit is one fault."""

Key = tuple[str, str, str, int]


def sites_of(kind: str) -> tuple[str, ...]:
    """The sites of a kind at which a visit is a fault of its own.

    A crash at `any` boundary draws one by a coin; each named crash point is a site beside it.
    """
    return tuple(site for site in KINDS[kind].sites if site != ANY)


def key_of(firing: Firing) -> Key:
    """What tells a visit from all others of its run, and is the same in another run."""
    return firing.kind, firing.site, intent_of(firing.subject), firing.occurrence


def run_noting(
    spec: RunSpec, firings: Sequence[Firing], kinds: Sequence[str]
) -> tuple[Ran, tuple[Firing, ...]]:
    """Run a plan; what was found, and the visits at which a fault could strike, in their order.

    Args:
        spec: of the run; its own faults are left out.
        firings: the plan.
        kinds: of `PROVEN`; their injectors are in place, and their visits are noted.

    Raises:
        KeyboardInterrupt: see `judged`.
        CheckError, SimulationError: a mistake of the lab's own.
    """
    noted: list[Firing] = []
    make = partial(NotingPlan, kinds=tuple(kinds), note=noted.append)
    planned = replace(spec, faults=(), asked=(), explicit=tuple(firings), make_plan=make)
    ran = judged(planned)
    return ran, tuple(noted)


class NotingPlan(FaultPlan):
    """An explicit plan that wants every site of some kinds, and notes each visit there.

    Args:
        kinds: see `run_noting`.
        note: takes each visit as the firing that would strike there.
        given: as of `FaultPlan`.
    """

    def __init__(
        self,
        *given: object,
        kinds: tuple[str, ...],
        note: Callable[[Firing], None],
        **named: object,
    ) -> None:
        super().__init__(*given, **named)  # type: ignore[arg-type]  # handed on as it came
        self._wanted = {kind: sites_of(kind) for kind in kinds}
        self._note = note

    def sites(self, kind: str) -> tuple[str, ...]:
        return self._wanted.get(kind, ())

    def _make_site(
        self,
        kind: str,
        site: str,
        rules: object,  # noqa: ARG002 - an explicit plan has none
        planned: Mapping[Key, Firing] | None,
    ) -> Site:
        return _NotingSite(self, kind, site, planned, self._note)


class _NotingSite(Site):
    __slots__ = ("_note", "_params")

    def __init__(
        self,
        plan: FaultPlan,
        kind: str,
        name: str,
        planned: Mapping[Key, Firing] | None,
        note: Callable[[Firing], None],
    ) -> None:
        super().__init__(plan, kind, name, (), planned)
        self._note = note
        self._params: dict[str, int | str] = {}
        for param in KINDS[kind].params:
            assert not isinstance(param.default, tuple), "a span has no value of its own"
            self._params[param.name] = param.default

    def toss(self, subject: str, occurrence: int) -> Firing | None:
        self._note(
            Firing(
                kind=self.kind,
                site=self.name,
                subject=subject,
                occurrence=occurrence,
                t_us=self._plan.now_us(),
                params=self._params,
            )
        )
        return super().toss(subject, occurrence)
