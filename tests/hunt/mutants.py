"""The list of mutants: the same for the same source, each with a name.

A mutant is a change of one module that a tired programmer could have made. Not here: whether a run
notices it (`judging.py`).
"""

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.hunt import flow, values
from tests.hunt.changes import Change, Slip
from tests.hunt.places import places_of
from tests.hunt.targets import GROUPS, LAB, REAL, files_of, short

SLIPS: Final[dict[str, Slip]] = {**values.SLIPS, **flow.SLIPS}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: below `lab/`.
        line: first line of what is changed.
        last: its last line.
        key: file, function, slip and change: it outlives changes elsewhere in the file.
    """

    file: str
    line: int
    last: int
    scope: str
    slip: str
    key: str
    change: Change

    @property
    def name(self) -> str:
        """As it is printed: with its line, without its function."""
        return self.key.replace(f"{self.file} {self.scope}", f"{self.file}:{self.line}", 1)

    def tree(self) -> ast.Module:
        """The changed module."""
        return changed((LAB / self.file).read_text(encoding="utf-8"), self.change)


def all_mutants(groups: Sequence[str] = tuple(GROUPS)) -> list[Mutant]:
    """The mutants of some groups, file by file, from top to bottom."""
    files = [path for group in groups for path in files_of(GROUPS[group])]
    return [mutant for path in files for mutant in mutants_of(short(path), path.read_text("utf-8"))]


def real_mutants() -> int:
    """How many there would be in the adapters that no simulated run comes by."""
    return sum(len(list(mutants_of(short(p), p.read_text("utf-8")))) for p in files_of(REAL))


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """The mutants of one source."""
    known: Counter[str] = Counter()
    for place in places_of(ast.parse(source)):
        for name, slip in SLIPS.items():
            for change in slip(place):
                key = f"{file} {place.scope.name or 'module'} {name} {change.what}"
                known[key] += 1
                if known[key] > 1:
                    key = f"{key} #{known[key]}"
                line, last = _lines(place.node, place.parents)
                scope = place.scope.name or "module"
                yield Mutant(file, line, last, scope, name, key, change)


def changed(source: str, change: Change) -> ast.Module:
    """The source as a tree, with the change made."""
    tree = ast.parse(source)
    for path, after in change.edits:
        holder: object = tree
        for step in path[:-1]:
            holder = holder[step] if isinstance(step, int) else getattr(holder, step)  # type: ignore[index]  # a step is a number only in a list
        step = path[-1]
        fresh = copy.deepcopy(after)
        if isinstance(step, int):
            before = holder[step]  # type: ignore[index]  # as above
            holder[step] = fresh  # type: ignore[index]  # as above
        else:
            before = getattr(holder, step)
            setattr(holder, step, fresh)
        for node in ast.walk(fresh):
            if not hasattr(node, "lineno") and isinstance(node, ast.expr | ast.stmt):
                ast.copy_location(node, before)
    return ast.fix_missing_locations(tree)


def sample(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Some of them, by a hash of their keys; in the order of the whole."""
    ranked = sorted(mutants, key=lambda one: hashlib.sha256(f"{seed} {one.key}".encode()).digest())
    chosen = {one.key for one in ranked[:count]}
    return [one for one in mutants if one.key in chosen]


def _lines(node: ast.AST, parents: tuple[ast.AST, ...]) -> tuple[int, int]:
    # Of a `continue` behind a condition the compiler leaves no line of its own.
    for each in parents if isinstance(node, ast.Continue) else (node, *parents):
        if hasattr(each, "lineno"):
            first: int = each.lineno
            return first, getattr(each, "end_lineno", None) or first
    return 1, 1
