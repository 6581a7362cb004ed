"""`lab ablate`: the same faults once more without a pattern, or with another policy.

First a run with every pattern, whose firings are recorded; then a run for each pattern that is
left out, with exactly these firings instead of coins. A fault that is a state of a third party (a
window, flapping, a limit) meets whoever calls: there the keyed coins decide again, because the
plan says nothing of calls that the pattern kept away. So they do in real runs, which follow no
recorded plan: a coin is of an order and its visit, in either world.

Not here: spreading the runs (`spread`), and the looks of the table (`lab.cli.ablate`).
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec

from lab import patterns
from lab.checks.tables import TERMINAL
from lab.checks.verdict import parse_goal
from lab.explore.search import SearchError, plain
from lab.explore.spread import Crew, spread
from lab.faults.plan.conditions import is_conditional
from lab.faults.plan.file import Firing
from lab.report.result import Mode, Result
from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import judged
from lab.wiring.outcome import SAVED_BY, make_result
from lab.wiring.reproduce import reproduce_line
from lab.wiring.run import run_spec
from lab.wiring.spec import RunSpec, make_spec

ABLATION_SCHEMA_VERSION: Final = 1

Outcome = Literal["broken", "saved", "held", "unproven"]
"""A promise broke; another layer did the work; nothing broke; the run proves nothing."""

Told = Callable[[int, int], None]
"""`told(done, total)` after each run; the total grows once the first runs are over."""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost, on its own clock.

    Attributes:
        deliveries, attempts, calls: each per accepted order; calls are those to third parties.
        p50_ms, p99_ms: from the first request of an order until its end.
        throughput: orders that came to their end, a second of the whole run.
    """

    deliveries: float
    attempts: float
    calls: float
    p50_ms: float
    p99_ms: float
    throughput: float


class AblationRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a scenario under its plan.

    Attributes:
        off: the patterns that were left out; () in the run that has them all.
        value: of the policy that is varied; "" if none is.
        plan: `recorded`: the firings of the run with all patterns; `keyed`: the same coins, since a
            fault is a state of a third party, or the run is a real one.
        struck: firings of this run.
        broken: promises, in their order; witness: of the first.
        why: who saved it, or why the run proves nothing.
        notes: what else the run had to say, such as what could not be removed from a server.
        price: what the pattern costs: with it minus without it; null in a run with all patterns,
            and where a policy is varied.
        reproduce: the command that makes this row again.
    """

    scenario: str
    off: tuple[str, ...]
    value: str
    plan: Literal["recorded", "keyed"]
    struck: int
    outcome: Outcome
    broken: tuple[str, ...]
    witness: str
    why: str
    notes: tuple[str, ...]
    measures: Measures
    price: Measures | None
    digest: str
    reproduce: str


class AblationResult(msgspec.Struct, frozen=True, kw_only=True):
    """All rows.

    Attributes:
        mode: `simulated`, `wall-clock` or `real`.
        verdict: FAIL if a scenario broke a promise with all its patterns; else PASS.
        partial: it was interrupted, and rows are missing.
        vary: the policy that is varied; "": none is, and patterns are left out.
        with_all: the run of each scenario that recorded its plan.
        rows: the others, in the order of the scenarios and patterns, or of the values.
    """

    schema_version: int
    mode: Mode
    seed: int
    verdict: Literal["PASS", "FAIL"]
    partial: bool
    vary: str
    with_all: tuple[AblationRun, ...]
    rows: tuple[AblationRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationTask:
    """One run, for whoever makes it.

    Attributes:
        options: the scenario stands in them, so that a worker needs no file.
        named: the options of the command that makes the row again, as they were asked for.
        vary: the policy that is varied, and its value; ("", ""): none is.
        firings: of the plan; None: the coins decide.
    """

    options: RunOptions
    named: RunOptions
    vary: tuple[str, str] = ("", "")
    firings: tuple[Firing, ...] | None = None


@dataclass(frozen=True, slots=True)
class Variation:
    """A policy and the values that are compared."""

    key: str
    values: tuple[str, ...]


class Ablation:
    """All runs of one `lab ablate`, from the question to the result; it can be ended at any time.

    Args:
        asked: the options of each scenario's runs. `off` in them is a set of patterns to be left
            out together, instead of one after the other.
        teach_only: of each scenario only the patterns that it teaches; else every pattern. Of real
            runs always.
        vary: values of a policy to be compared, with every pattern.

    Raises:
        SearchError: real runs of no chosen scenario, or of one that teaches no pattern, or whose
            things are to be kept; or orders that can be read only once.
        ScenarioError, SettingError, FaultError: see `make_spec`.

    Attributes:
        mode: the world of the runs.
    """

    def __init__(
        self, asked: Sequence[RunOptions], *, teach_only: bool, vary: Variation | None = None
    ) -> None:
        self._vary = vary
        self._with_all: list[AblationRun] = []
        self._rows: list[AblationRun] = []
        self._bases: list[AblationTask] = []
        self._rows_of: list[list[AblationTask]] = []
        for options in asked:
            base, rows = _tasks(options, teach_only=teach_only, vary=vary)
            self._bases.append(base)
            self._rows_of.append(rows)
        self.mode: Mode = make_spec(asked[0]).world.mode
        self._total = len(self._bases) + sum(map(len, self._rows_of))

    def go_on(self, pool: Crew, told: Told | None = None) -> None:
        """Make every run; those that were over when an exception came stay in the result."""
        ready: list[AblationTask] = []
        for (run, firings), rows in zip(
            spread(pool, run_with_all, self._bases), self._rows_of, strict=True
        ):
            self._with_all.append(run)
            planned = None if run.plan == "keyed" else firings
            ready.extend(replace(row, firings=planned) for row in rows)
            self._tell(told)
        measured = {run.scenario: run.measures for run in self._with_all}
        for row in spread(pool, run_row, ready):
            is_priced = self._vary is None
            self._rows.append(_priced(row, measured[row.scenario]) if is_priced else row)
            self._tell(told)

    def result(self) -> AblationResult:
        """What is known until now."""
        is_broken = any(run.broken for run in self._with_all)
        return AblationResult(
            schema_version=ABLATION_SCHEMA_VERSION,
            mode=self.mode,
            seed=self._bases[0].options.seed,
            verdict="FAIL" if is_broken else "PASS",
            partial=len(self._with_all) + len(self._rows) < self._total,
            vary="" if self._vary is None else self._vary.key,
            with_all=tuple(self._with_all),
            rows=tuple(self._rows),
        )

    def _tell(self, told: Told | None) -> None:
        if told is not None:
            told(len(self._with_all) + len(self._rows), self._total)


def run_with_all(task: AblationTask) -> tuple[AblationRun, tuple[Firing, ...]]:
    """Make the run with every pattern; returns its firings too."""
    return _run(task)


def run_row(task: AblationTask) -> AblationRun:
    """Make a run under the plan that was recorded."""
    return _run(task)[0]


def _tasks(
    options: RunOptions, *, teach_only: bool, vary: Variation | None
) -> tuple[AblationTask, list[AblationTask]]:
    """The run with every pattern, and those to be compared with it; all are checked."""
    spec = make_spec(options)
    if spec.world.is_live and teach_only:
        raise SearchError("runs on the clock take seconds each: name the scenarios that you mean")
    if options.keep:
        raise SearchError("an ablation keeps nothing on servers: take lab run NAME --off P --keep")
    if spec.orders_from == "-":
        raise SearchError("orders of standard input can be read only once: keep them in a file")
    own = replace(options, scenario=plain(spec), out=None)
    if vary is not None:
        base = AblationTask(options=own, named=options)
        return base, [_varied(base, vary.key, value) for value in vary.values]
    teach_only |= spec.world.is_live
    wanted = [spec.off] if spec.off else list(_one_by_one(spec, teach_only=teach_only))
    if not wanted:
        raise SearchError(f"{spec.scenario.name} teaches no pattern: name some with --off")
    base = AblationTask(options=replace(own, off=()), named=replace(options, off=()))
    return base, [
        AblationTask(options=replace(own, off=off), named=replace(options, off=off))
        for off in wanted
    ]


def _varied(base: AblationTask, key: str, value: str) -> AblationTask:
    options = replace(base.options, settings={**base.options.settings, key: value})
    make_spec(options)
    return replace(base, options=options, vary=(key, value))


def _one_by_one(spec: RunSpec, *, teach_only: bool) -> Iterator[tuple[str, ...]]:
    """Each pattern alone, then those of which one does the work of the other, together."""
    names = [one for one in patterns.NAMES if not teach_only or one in spec.scenario.patterns]
    for name in names:
        yield (name,)
    pairs = {
        tuple(one for one in patterns.NAMES if one in (name, other))
        for name, saviours in SAVED_BY.items()
        for other, _, _ in saviours
    }
    for pair in sorted(pairs):
        if set(pair) <= set(names):
            yield pair


def _run(task: AblationTask) -> tuple[AblationRun, tuple[Firing, ...]]:
    spec = replace(make_spec(task.options), explicit=task.firings)
    result, firings = _judged(spec)
    broken = tuple(check for check in result.checks if check.verdict == "FAIL")
    is_state = any(is_conditional(fault) and not fault.is_timed for fault in spec.faults)
    run = AblationRun(
        scenario=spec.scenario.name,
        off=spec.off,
        value=task.vary[1],
        plan="keyed" if is_state or spec.world.is_live else "recorded",
        struck=sum(fault.fired for fault in result.faults),
        outcome=_outcome(result),
        broken=tuple(check.name for check in broken),
        witness=broken[0].witness if broken else "",
        why="" if broken else result.why,
        notes=tuple(result.notes) if spec.world.is_live else (),
        measures=_measures(result),
        price=None,
        digest=result.digest,
        reproduce=_command(spec, task),
    )
    return run, firings


def _judged(spec: RunSpec) -> tuple[Result, tuple[Firing, ...]]:
    """The result of one run, and the firings of a simulated one."""
    if spec.world.is_live:
        result = run_spec(spec)
        if result.partial:
            raise KeyboardInterrupt
        return result, ()
    ran = judged(spec)
    result = make_result(ran, tuple(parse_goal(text) for text in spec.scenario.goals))
    return result, tuple(ran.plan.firings)


def _outcome(result: Result) -> Outcome:
    if any(check.verdict == "FAIL" for check in result.checks):
        return "broken"
    if result.verdict != "PASS":
        return "unproven"
    return "saved" if result.why else "held"


def _measures(result: Result) -> Measures:
    ended = sum(count for state, count in result.orders.by_state.items() if state in TERMINAL)
    return Measures(
        deliveries=result.metrics["deliveries_per_order"],
        attempts=result.metrics["attempts_per_order"],
        calls=result.metrics["calls_per_order"],
        p50_ms=result.metrics["to_terminal_p50_ms"],
        p99_ms=result.metrics["to_terminal_p99_ms"],
        throughput=round(ended * 1_000 / max(result.time.virtual_ms, 1), 3),
    )


def _priced(row: AblationRun, with_all: Measures) -> AblationRun:
    """The row with what its pattern costs: with it minus without it."""
    price = {
        name: round(getattr(with_all, name) - getattr(row.measures, name), 3)
        for name in Measures.__struct_fields__
    }
    return msgspec.structs.replace(row, price=Measures(**price))


def _command(spec: RunSpec, task: AblationTask) -> str:
    """The command that makes a row again: a run with all patterns is one of `lab run`."""
    words = shlex.split(reproduce_line(replace(spec, options=task.named)))
    key, value = task.vary
    if key or spec.off:
        words[1] = "ablate"
    if key:
        words += ["--vary", f"{key}={value}"]
    return shlex.join(words)
