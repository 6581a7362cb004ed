"""The command line of the hunt: which mutants, how many at a time, what is printed and kept.

Not here: what a hunt is (`tests/hunt/__init__.py`).
"""

import argparse
import ast
import difflib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests import hunt
from tests.hunt.equivalents import outlived, reason_for
from tests.hunt.judging import (
    KILLED,
    SURVIVED,
    UNREACHED,
    Baseline,
    BrokenBaseline,
    Fate,
    fingerprint,
    from_json,
    import_vendors,
    judge_all,
    take_baseline,
    to_json,
)
from tests.hunt.mutants import SLIPS, Mutant, all_mutants, real_mutants, sample
from tests.hunt.runs import Run, all_runs, parse_runs
from tests.hunt.targets import GROUPS, LAB

_KEEP_EVERY = 20


def main() -> int:
    """Hunt; 2 if the lab breaks a promise without any mutant."""
    given = _arguments().parse_args()
    mutants = [
        one
        for one in all_mutants(given.only)
        if one.slip in given.slips and given.match in f"{one.name}\n{one.key}"
    ]
    if given.sample:
        mutants = sample(mutants, given.sample, given.seed)
    if given.list:
        for one in mutants:
            tell(f"{one.name}\n    {one.key}")
        tell(f"{len(mutants):,} mutants; {real_mutants():,} more in the adapters of real servers")
        return 0
    if given.show:
        for one in mutants:
            if given.show in one.name:
                tell(_difference(one))
        return 0
    runs = parse_runs(given.runs) if given.runs else all_runs()
    kept = Kept(given.resume, given.json or given.resume)
    if kept.baseline is None or kept.baseline.fingerprint != fingerprint(runs):
        try:
            kept.baseline = take_baseline(runs)
        except BrokenBaseline as broken:
            sys.stderr.write(f"without any mutant: {broken}\n")
            return 2
    if given.again:
        mutants = [one for one in mutants if kept.is_open(one.key)]
    else:
        mutants = [one for one in mutants if not kept.status(one.key)]
    # A survivor costs every run there is, so those that are known come last.
    mutants.sort(key=lambda one: bool(reason_for(one.key)))
    _hunt(mutants, runs, kept, jobs=given.jobs, minutes=given.minutes)
    kept.write()
    return 0


class Kept:
    """What earlier hunts found, and a place for what this one finds."""

    def __init__(self, old: Path | None, new: Path | None) -> None:
        self._new = new
        self.baseline: Baseline | None = None
        self.fates: dict[str, Fate] = {}
        if old is not None and old.exists():
            told = json.loads(old.read_text(encoding="utf-8"))
            known = told["baseline"]
            self.baseline = Baseline(known["fingerprint"], tuple(known["digests"]), known["lines"])
            self.fates = {each["key"]: from_json(each) for each in told["fates"]}

    def status(self, key: str) -> str:
        """Empty if it was not judged yet."""
        return self.fates[key].status if key in self.fates else ""

    def is_open(self, key: str) -> bool:
        """Whether it was judged, not killed, and the lab has changed since."""
        assert self.baseline is not None
        known = self.fates.get(key)
        if known is None or known.status == KILLED:
            return False
        return known.lab != self.baseline.fingerprint

    def write(self) -> None:
        """Keep it: whole or not at all."""
        if self._new is None or self.baseline is None:
            return
        told = {
            "baseline": {
                "fingerprint": self.baseline.fingerprint,
                "digests": self.baseline.digests,
                "lines": self.baseline.lines,
            },
            "fates": [to_json(each) for each in self.fates.values()],
        }
        half = self._new.with_suffix(".half")
        half.write_text(json.dumps(told), encoding="utf-8")
        half.replace(self._new)


def _hunt(
    mutants: Sequence[Mutant], runs: Sequence[Run], kept: Kept, *, jobs: int, minutes: float
) -> None:
    assert kept.baseline is not None
    import_vendors()
    began = time.perf_counter()
    by_key = {one.key: one for one in mutants}
    found: list[Fate] = []
    for fate in judge_all(
        mutants,
        runs,
        kept.baseline,
        jobs=jobs,
        goes_on=lambda: time.perf_counter() - began < minutes * 60,
    ):
        found.append(fate)
        kept.fates[fate.key] = replace(fate, lab=kept.baseline.fingerprint)
        if fate.status == SURVIVED and not reason_for(fate.key):
            tell(f"survived  {by_key[fate.key].name}{'  (same histories)' * fate.same}")
        if len(found) % _KEEP_EVERY == 0:
            kept.write()
            took = time.perf_counter() - began
            sys.stderr.write(f"{len(found):,} of {len(mutants):,} in {took:,.0f} s\n")
    _sum_up(found, by_key, len(mutants), time.perf_counter() - began)


def _sum_up(found: Sequence[Fate], by_key: Mapping[str, Mutant], asked: int, took: float) -> None:
    unreached = Counter(
        f"{by_key[each.key].file} {by_key[each.key].scope}"
        for each in found
        if each.status == UNREACHED and not reason_for(each.key)
    )
    for place, many in sorted(unreached.items()):
        tell(f"unreached  {place}: {many}")
    statuses = Counter(each.status for each in found)
    explained = sum(1 for each in found if each.status == SURVIVED and reason_for(each.key))
    counts = ", ".join(f"{name} {many:,}" for name, many in sorted(statuses.items()))
    tell(f"{len(found):,} of {asked:,} mutants in {took:,.0f} s: {counts or 'none'}")
    if explained:
        tell(f"{explained:,} survivors are known to change nothing (tests/hunt/equivalents.toml)")
    killers = Counter(each.by[0] for each in found if each.status == KILLED)
    for promise, many in killers.most_common():
        tell(f"{many:>6,}  {promise}")
    for row in outlived(all_mutants()):
        tell(f"no mutant fits any more: {row}")


def _difference(mutant: Mutant) -> str:
    before = ast.unparse(ast.parse((LAB / mutant.file).read_text(encoding="utf-8")))
    after = ast.unparse(mutant.tree())
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), n=2, lineterm="")
    return "\n".join([mutant.name, *list(lines)[2:], ""])


def _arguments() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(
        prog="python -m tests.hunt",
        description=hunt.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    asked.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    asked.add_argument("--slips", nargs="+", choices=SLIPS, default=list(SLIPS))
    asked.add_argument("--match", default="", help="mutants with this text in name or key")
    asked.add_argument("--sample", type=int, default=0, metavar="N", help="N of them")
    asked.add_argument("--seed", type=int, default=1, help="which N")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked.add_argument("--minutes", type=float, default=1e9, help="start no mutant after so long")
    asked.add_argument("--runs", default="", help="such as 'happy-path:1 everything:7'")
    asked.add_argument("--json", type=Path, metavar="FILE", help="keep what was found")
    asked.add_argument("--resume", type=Path, metavar="FILE", help="go on where it ended, keep too")
    asked.add_argument(
        "--again",
        action="store_true",
        help="of FILE, what was not killed, once more, as the lab has changed since",
    )
    asked.add_argument("--list", action="store_true", help="names and keys only")
    asked.add_argument("--show", default="", metavar="TEXT", help="changes with it in the name")
    return asked


def tell(line: str) -> None:
    """Print it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
