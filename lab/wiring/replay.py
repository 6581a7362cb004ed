"""Runs a recorded plan again, and says whether it is the same run: by its digest, else by verdict.

Not here: the words for it (`lab.cli.replay`), and what a plan says of its run (`planned`).
"""

from itertools import zip_longest
from pathlib import Path
from typing import Final, Literal

import msgspec

import lab
from lab.faults.plan.file import PlanError, PlanFile, read_plan
from lab.report.result import Result
from lab.runner import Progress
from lab.wiring.planned import spec_of_plan
from lab.wiring.run import run_spec
from lab.wiring.spec import RunSpec

PLAN: Final = "plan.json"
HISTORY: Final = "history.ndjson"

By = Literal["digest", "verdict", "nothing"]


class FirstDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The first entry that is not the same in both runs.

    Attributes:
        number: its line in both histories, from 1.
        then, now: as each history has it; None: that one is over.
    """

    number: int
    then: dict[str, object] | None
    now: dict[str, object] | None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was run again.

    Attributes:
        plan: its file.
        compared_by: the digest of the history; the verdict and the broken promises on the wall
            clock, where no two runs are equal; nothing, if the plan was edited or its run cut off.
        is_same: as far as it was compared.
        made_by, lab: the versions that ran it then and now.
        expected, found: digests, or verdicts with the broken promises.
        first_difference: None: there is none, or the history of one of the runs is not there.
        result: of the new run.
    """

    plan: str
    compared_by: By
    is_same: bool
    made_by: str
    lab: str
    expected: str
    found: str
    first_difference: FirstDifference | None
    result: Result


def plan_of(place: Path) -> tuple[Path, PlanFile]:
    """The plan in a file, or in the folder of a run.

    Raises:
        PlanError: there is none, or it cannot be used; the message names file and place.
    """
    path = place / PLAN if place.is_dir() else place
    try:
        return path, read_plan(path.read_bytes())
    except OSError as bad:
        raise PlanError(f"cannot read {path}: {bad.strerror}; see: lab list --runs") from None
    except PlanError as bad:
        raise PlanError(f"{path}: {bad}") from None


def spec_to_replay(path: Path, plan: PlanFile, out: Path | None) -> RunSpec:
    """The run that a plan asks for.

    Raises:
        PlanError: see `spec_of_plan`; the message names the file.
    """
    try:
        return spec_of_plan(plan, out=out)
    except PlanError as bad:
        raise PlanError(f"{path}: {bad}") from None


def replay(place: Path, *, out: Path | None = None, on_progress: Progress | None = None) -> Replay:
    """Run the plan of `place` again and compare.

    Args:
        place: a plan file, or the folder of a run.
        out: where the new run is kept; None: it is not, and no entry can be named that differs.
        on_progress: see `lab.run`.

    Raises:
        PlanError: the plan cannot be used.
        What `lab.run` raises.
    """
    path, plan = plan_of(place)
    spec = spec_to_replay(path, plan, out)
    result = run_spec(spec, on_progress=on_progress)
    run = plan.run
    assert run is not None, "else it could not be run"
    by: By = "digest" if run.digest else "verdict"
    if plan.sums is None or not run.verdict or result.partial:
        by = "nothing"
    expected, found = run.digest, result.digest
    if by == "verdict":
        expected = _judged(run.verdict, run.broken)
        found = _judged(result.verdict, _broken(result))
    is_same = by == "nothing" or expected == found
    difference = None
    if not is_same and by == "digest" and result.run_dir is not None:
        difference = first_difference(path.with_name(HISTORY), Path(result.run_dir) / HISTORY)
    return Replay(
        plan=str(path),
        compared_by=by,
        is_same=is_same,
        made_by=run.lab,
        lab=lab.__version__,
        expected=expected,
        found=found,
        first_difference=difference,
        result=result,
    )


def first_difference(then: Path, now: Path) -> FirstDifference | None:
    """The first line that differs between two kept histories; None: there is none, or no history.

    Long histories keep the same orders of both, as the same rule chose them.
    """
    try:
        with then.open("rb") as old, now.open("rb") as new:
            for number, (was, is_now) in enumerate(zip_longest(old, new), start=1):
                if was != is_now:
                    return FirstDifference(number=number, then=_entry(was), now=_entry(is_now))
    except OSError:
        return None
    return None


def _entry(line: bytes | None) -> dict[str, object] | None:
    if line is None:
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except msgspec.MsgspecError:
        return {"unreadable": line[:80].decode("utf-8", "replace")}


def _broken(result: Result) -> tuple[str, ...]:
    return tuple(check.name for check in result.checks if check.verdict == "FAIL")


def _judged(verdict: str, broken: tuple[str, ...]) -> str:
    return f"{verdict} {', '.join(broken)}".strip()
