"""`lab prove`: every plan of up to K faults at the visits of a small run, each run and judged.

Plans are made in the order of time: the run of a plan shows at which visits behind its last fault
one more could strike, visits that exist only because of its faults among them, and each of those is
a plan with one fault more. Two rules leave plans out, see `Level`; each is checked in every run.

Runs that look alike are run all the same. An equal digest says that two runs were recorded alike,
not that their processes, leases and queues are in one state, so one more fault may part them.
Neither is an order left out because another looks like it: ids, keys and moments differ.

Not here: the run of a plan (`visits`), processes and clusters (`spread`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lab.did_you_mean import did_you_mean
from lab.explore.findings import Break
from lab.explore.search import plain
from lab.explore.spread import Crew, spread
from lab.explore.visits import PROVEN, Key, key_of, run_noting
from lab.faults.plan.file import Firing
from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import SMALL
from lab.wiring.outcome import Ran
from lab.wiring.spec import RunSpec, make_spec

DEFAULT_ORDERS: Final = 2
PLANS_A_TASK: Final = 40
"""A task makes the run of its plans' common beginning once more, a fortieth of its price."""

Told = Callable[[int, int], None]
"""`told(covered, known)` after each task: plans that were run, and those that are known of."""


class ProveError(ValueError):
    """There is nothing that could be proven; the message says why."""


@dataclass(slots=True)
class Level:
    """The plans of one number of faults.

    Attributes:
        faults: how many.
        plans: there are; those of a level are known when the one before is covered.
        covered: of them, that were run and held.
        other_order: plans left out because their last fault would strike before the others. Until
            there, the run is the one without those others, which has that visit too; so the plan
            with its faults in the order of time is covered, and is the same plan.
        gone: plans left out because the faults before let their last visit never come. It cannot
            fire, so the run is the one without it, which is covered.
        behind: visits behind the last fault of those that are covered: plans of the next level.
    """

    faults: int
    plans: int = 0
    covered: int = 0
    other_order: int = 0
    gone: int = 0
    behind: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One task: some of the plans that have one fault more than `firings`.

    Attributes:
        options: of the runs; the scenario stands in them, so that a worker needs no file.
        kinds: of the faults.
        firings: that the plans have in common.
        start, stop: which of the visits behind them are the last fault; None: the plan itself.
    """

    options: RunOptions
    kinds: tuple[str, ...]
    firings: tuple[Firing, ...]
    start: int | None = None
    stop: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """One plan that was run.

    Attributes:
        before, behind: how many visits there were until its last fault, and after it.
        gone: visits that the run without its last fault had, and this one has not.
    """

    firings: tuple[Firing, ...]
    before: int
    behind: int
    gone: int
    broken: tuple[Break, ...]


class Proving:
    """One proof, from its question to as far as it came; it can be ended after each task.

    Args:
        options: of every run; faults are those of the plans.
        faults_max: how many a plan has at most.
        kinds: of the faults; (): all of `PROVEN`.

    Attributes:
        spec: of the runs, without a plan.
        levels: by their number of faults; those behind the last one are not known yet.
        breaks: the first plan that breaks a promise, and the fewest faults that do.

    Raises:
        ProveError: the runs would not be simulated, or there is no such kind.
        ScenarioError, SettingError: see `make_spec`.
    """

    def __init__(self, options: RunOptions, faults_max: int, *, kinds: Sequence[str] = ()) -> None:
        self.spec = _small(options)
        self.faults_max = faults_max
        self.kinds = _known(kinds)
        self.levels = [Level(0, plans=1)]
        self.breaks: Covered | None = None
        self._options = replace(self.spec.options, scenario=plain(self.spec), faults=(), out=None)

    @property
    def is_whole(self) -> bool:
        """Whether every plan was covered, or one breaks and no smaller one can."""
        return self.breaks is not None or (
            len(self.levels) == self.faults_max + 1 and self.left == 0
        )

    @property
    def left(self) -> int:
        """Plans that are known of and were not run."""
        return sum(level.plans - level.covered for level in self.levels)

    @property
    def left_in_all(self) -> int:
        """Plans that were not run, with those of levels that nobody has counted yet, about."""
        last = self.levels[-1]
        share = last.behind / last.covered if last.covered else 0.0
        guessed, total = float(last.plans), 0.0
        for faults in range(last.faults, self.faults_max):
            # Visits lie evenly: behind the last of d faults there is 1/(d+1) of them.
            guessed *= share * (last.faults + 1) / (faults + 1)
            total += guessed
        return self.left + round(total)

    @property
    def covered(self) -> int:
        """Plans that were run, and held."""
        return sum(level.covered for level in self.levels)

    def run(
        self,
        pool: Crew,
        *,
        plans_max: int | None = None,
        counts_only: bool = False,
        told: Told | None = None,
    ) -> None:
        """Cover level after level, until a plan breaks a promise.

        Args:
            pool: who makes the runs.
            plans_max: ends when so many plans were run; None: goes on to the last one.
            counts_only: ends before the last level, whose plans are counted by then.
            told: see `Told`.
        """
        tasks: Sequence[Slice] = (self._slice(()),)
        for faults in range(self.faults_max + 1):
            if counts_only and faults == self.faults_max > 0:
                return
            level, plans = self.levels[faults], []
            for batch in spread(pool, run_slice, tasks):
                for one in batch:
                    if plans_max is not None and self.covered >= plans_max:
                        return
                    if one.broken:
                        self.breaks = one
                        return
                    level.covered += 1
                    level.behind += one.behind
                    plans.append(one)
                if told is not None:
                    told(self.covered, self.covered + self.left)
            if faults == self.faults_max:
                return
            self.levels.append(
                Level(
                    faults + 1,
                    plans=level.behind,
                    other_order=sum(one.before for one in plans),
                    gone=sum(one.gone for one in plans),
                )
            )
            tasks = tuple(self._slices(plans))

    def _slice(self, firings: tuple[Firing, ...]) -> Slice:
        return Slice(options=self._options, kinds=self.kinds, firings=firings)

    def _slices(self, plans: Sequence[Covered]) -> Iterator[Slice]:
        for plan in plans:
            whole = self._slice(plan.firings)
            for start in range(0, plan.behind, PLANS_A_TASK):
                stop = min(start + PLANS_A_TASK, plan.behind)
                yield replace(whole, start=start, stop=stop)


def run_slice(task: Slice) -> tuple[Covered, ...]:
    """Run the plans of a task, up to the first that breaks a promise."""
    spec = make_spec(task.options)
    ran, visits = run_noting(spec, task.firings, task.kinds)
    if task.start is None:
        return (_covered(ran, task.firings, before=0, visits=visits, gone=0),)
    began = _place(visits, task.firings[-1]) + 1 if task.firings else 0
    found = []
    for place in range(began + task.start, began + task.stop):
        firings = (*task.firings, visits[place])
        ran, seen = run_noting(spec, firings, task.kinds)
        before = place + 1
        assert seen[:before] == visits[:before], f"two runs part before their fault: {firings}"
        left = set(map(key_of, seen[before:]))
        gone = sum(key_of(one) not in left for one in visits[before:])
        found.append(_covered(ran, firings, before=before, visits=seen, gone=gone))
        if found[-1].broken:
            break
    return tuple(found)


def _place(visits: Sequence[Firing], firing: Firing) -> int:
    wanted: Key = key_of(firing)
    return next(place for place, one in enumerate(visits) if key_of(one) == wanted)


def _covered(
    ran: Ran, firings: tuple[Firing, ...], *, before: int, visits: Sequence[Firing], gone: int
) -> Covered:
    return Covered(
        firings=firings,
        # Its own visit is no other plan, nor are those of the faults before it.
        before=max(0, before - len(firings)),
        behind=len(visits) - before,
        gone=gone,
        broken=broken_by(ran),
    )


def broken_by(ran: Ran) -> tuple[Break, ...]:
    """The promises that a run broke."""
    return tuple(
        Break(promise=one.name, witness=one.witness)
        for one in ran.findings
        if one.verdict.value == "FAIL"
    )


def _small(options: RunOptions) -> RunSpec:
    """The run whose plans are made: few orders, and policies that few orders need."""
    spec = make_spec(options)
    if spec.world.is_live:
        raise ProveError(
            "a proof runs in the simulated world, where a plan is a run: leave --real, --bus, "
            "--store, --dedupe and --wall-clock out"
        )
    if spec.beyond:
        raise ProveError(
            f"beyond the contract nothing is promised, so there is nothing to prove: "
            f"{', '.join(spec.beyond)}"
        )
    given = {**spec.scenario.settings, **options.settings}
    small = {key: value for key, value in SMALL.items() if key not in given}
    orders = options.orders
    if orders is None and not spec.orders_from:
        orders = DEFAULT_ORDERS
    return make_spec(replace(options, settings={**small, **options.settings}, orders=orders))


def _known(kinds: Sequence[str]) -> tuple[str, ...]:
    for kind in kinds:
        if kind not in PROVEN:
            raise ProveError(
                f"{kind!r} is no fault that is proven{did_you_mean(kind, PROVEN)}; those are: "
                f"{', '.join(PROVEN)}"
            )
    return tuple(kind for kind in PROVEN if not kinds or kind in kinds)
