"""The results of many seeds of one scenario: a line each and a sum, as `lab run --seeds --json`."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from lab.report.result import Mode, Result, VerdictName

SEEDS_SCHEMA_VERSION: Final = 1


class SeedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One seed.

    Attributes:
        broken: the promises that were broken.
        why: the failure in a sentence; "" for PASS.
        run_dir: its folder, or null: without `--out` none is kept.
    """

    seed: int
    verdict: VerdictName
    broken: tuple[str, ...]
    why: str
    digest: str
    virtual_ms: int
    wall_ms: int
    reproduce: str
    run_dir: str | None


class SeedsResult(msgspec.Struct, frozen=True, kw_only=True):
    """All seeds.

    Attributes:
        verdict: the worst one: FAIL, then UNKNOWN, then PASS.
        partial: interrupted; the seeds that are missing did not run.
        seeds: how many there were to be.
        by_verdict: seeds of each verdict.
        broken: seeds that broke each promise.
    """

    schema_version: int
    scenario: str
    mode: Mode
    verdict: VerdictName
    partial: bool
    seeds: int
    by_verdict: dict[str, int]
    broken: dict[str, int]
    runs: tuple[SeedRun, ...]


def seed_run(result: Result) -> SeedRun:
    """The summary of one run."""
    broken = [check for check in result.checks if check.verdict == "FAIL"]
    why = f"{broken[0].name}: {broken[0].witness}" if broken else ""
    if result.verdict == "UNKNOWN":
        missed = [goal.goal for goal in result.goals if goal.applicable and not goal.reached]
        why = result.why or f"not reached: {', '.join(missed)}"
    return SeedRun(
        seed=result.seed,
        verdict=result.verdict,
        broken=tuple(check.name for check in broken),
        why=why,
        digest=result.digest,
        virtual_ms=result.time.virtual_ms,
        wall_ms=result.time.wall_ms,
        reproduce=result.reproduce,
        run_dir=result.run_dir,
    )


def sum_up(
    scenario: str, runs: Sequence[SeedRun], *, mode: Mode, seeds: int, is_partial: bool
) -> SeedsResult:
    """The sum of the seeds that have run in the world `mode`; with none of them it is UNKNOWN."""
    by_verdict = Counter(run.verdict for run in runs)
    verdict: VerdictName = "PASS" if runs else "UNKNOWN"
    for worse in ("UNKNOWN", "FAIL"):
        if by_verdict[worse]:
            verdict = worse
    return SeedsResult(
        schema_version=SEEDS_SCHEMA_VERSION,
        scenario=scenario,
        mode=mode,
        verdict=verdict,
        partial=is_partial,
        seeds=seeds,
        by_verdict={name: by_verdict[name] for name in ("PASS", "FAIL", "UNKNOWN")},
        broken=dict(sorted(Counter(name for run in runs for name in run.broken).items())),
        runs=tuple(runs),
    )


def encode_seeds(result: SeedsResult) -> bytes:
    """One JSON object, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
