"""What a proof has shown: what was covered, what was left out and why, and the plan that breaks.

Not here: covering (`proving`).
"""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import msgspec

from lab.explore.findings import Break
from lab.explore.proving import Covered, Proving, broken_by
from lab.explore.visits import sites_of
from lab.faults.plan.as_text import fault_of
from lab.faults.plan.file import Firing
from lab.scenarios.run_options import RunOptions
from lab.wiring.many_runs import judged
from lab.wiring.run import run_spec
from lab.wiring.spec import RunSpec, make_spec

PROOF_SCHEMA_VERSION: Final = 1

OTHER_ORDER: Final = "its last fault strikes before the others: covered in the order of time"
GONE: Final = "the faults before take the visit away: the run is the one without it"


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Plans that were not run, since a run that was made is theirs."""

    plans: int
    rule: str


class ProofLevel(msgspec.Struct, frozen=True, kw_only=True):
    """The plans of one number of faults.

    Attributes:
        plans: there are; null: the level before was not covered, so nobody knows.
        covered: of them, that were run and held.
    """

    faults: int
    plans: int | None
    covered: int
    left_out: tuple[LeftOut, ...]


class BrokenPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The first plan that breaks a promise; none with fewer faults does.

    Attributes:
        faults: as `--fault` takes them; null: no text can say one of them.
        reproduce: the command that runs it again.
        run_dir: the kept run; null: none was kept.
    """

    promise: str
    witness: str
    firings: tuple[Firing, ...]
    faults: tuple[str | None, ...]
    reproduce: str
    run_dir: str | None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof has shown.

    Attributes:
        verdict: PASS: every plan was covered and held; FAIL: one broke a promise; else UNKNOWN.
        partial: plans are left that nobody ran.
        kinds: of the faults; levels: by their number.
        covered: plans that were run and held.
        left: plans that were not run; an estimate while a level is not counted.
        left_s: how long they would take, with the same workers.
        notes: sentences worth knowing.
    """

    schema_version: int
    scenario: str
    seed: int
    orders: int | None
    verdict: Literal["PASS", "FAIL", "UNKNOWN"]
    partial: bool
    faults_max: int
    kinds: tuple[str, ...]
    levels: tuple[ProofLevel, ...]
    covered: int
    left: int
    left_s: float
    broken: BrokenPlan | None
    notes: tuple[str, ...]


def proof_of(proving: Proving, *, elapsed_s: float, out: Path) -> Proof:
    """The result of a proof, as far as it came.

    Args:
        proving: the proof.
        elapsed_s: how long it took until now.
        out: where the run of a plan that breaks is kept.
    """
    spec, breaks = proving.spec, proving.breaks
    verdict: Literal["PASS", "FAIL", "UNKNOWN"] = "PASS" if proving.is_whole else "UNKNOWN"
    left = 0 if breaks else proving.left_in_all
    notes = []
    if spec.faults:
        notes.append("the faults of the scenario itself are left out: the plans have their own")
    return Proof(
        schema_version=PROOF_SCHEMA_VERSION,
        scenario=spec.scenario.name,
        seed=spec.seed,
        orders=spec.orders,
        verdict="FAIL" if breaks else verdict,
        partial=not proving.is_whole,
        faults_max=proving.faults_max,
        kinds=proving.kinds,
        levels=tuple(_levels(proving)),
        covered=proving.covered,
        left=left,
        left_s=round(elapsed_s / max(1, proving.covered) * left, 1),
        broken=None if breaks is None else _broken(proving, breaks, out),
        notes=tuple(notes),
    )


def _levels(proving: Proving) -> Iterator[ProofLevel]:
    for level in proving.levels:
        rules = ((level.other_order, OTHER_ORDER), (level.gone, GONE))
        yield ProofLevel(
            faults=level.faults,
            plans=level.plans,
            covered=level.covered,
            left_out=tuple(LeftOut(plans=count, rule=rule) for count, rule in rules if count),
        )
    for faults in range(len(proving.levels), proving.faults_max + 1):
        yield ProofLevel(faults=faults, plans=None, covered=0, left_out=())


def _broken(proving: Proving, breaks: Covered, out: Path) -> BrokenPlan:
    first = breaks.broken[0]
    texts = tuple(map(fault_of, breaks.firings))
    command, folder = _kept(proving, breaks, first, out)
    return BrokenPlan(
        promise=first.promise,
        witness=first.witness,
        firings=breaks.firings,
        faults=texts,
        reproduce=command,
        run_dir=folder,
    )


def _kept(proving: Proving, breaks: Covered, first: Break, out: Path) -> tuple[str, str | None]:
    """The command that breaks the same promise in the same way, and the run that it made."""
    for spec in _candidates(proving, breaks):
        if first not in broken_by(judged(spec)):
            continue
        result = run_spec(replace(spec, options=replace(spec.options, out=out)))
        if spec.explicit is None:
            return result.reproduce, result.run_dir
        if result.run_dir is not None:
            return f"lab replay {shlex.quote(result.run_dir)}", result.run_dir
    return _itself(proving), None


def _candidates(proving: Proving, breaks: Covered) -> Iterator[RunSpec]:
    """Runs of the plan without what notes the visits, the shortest to say first.

    An injector that never strikes may take a step of its own, so a run without it can be another.
    """
    spec = proving.spec
    given = spec.options
    texts = [text for text in map(fault_of, breaks.firings) if text is not None]
    if len(texts) == len(breaks.firings) and not spec.faults:
        waiting = [f"{kind}@{site} rate=0" for kind in proving.kinds for site in sites_of(kind)]
        for faults in (texts, [*texts, *waiting]):
            yield make_spec(_calm(replace(given, faults=tuple(faults), out=None), spec))
    calm = make_spec(_calm(replace(given, faults=(), out=None), spec))
    yield replace(calm, faults=(), asked=(), explicit=breaks.firings)


def _calm(options: RunOptions, spec: RunSpec) -> RunOptions:
    """The same run; it is not made once more without faults to compare costs."""
    return replace(options, scenario=replace(spec.scenario, compares=False))


def _itself(proving: Proving) -> str:
    spec = proving.spec
    words = ["lab", "prove", spec.scenario.name, "--faults", str(proving.faults_max)]
    words += ["--seed", str(spec.seed)]
    if spec.orders is not None:
        words += ["--orders", str(spec.orders)]
    if spec.off:
        words += ["--off", ",".join(spec.off)]
    return shlex.join(words)
