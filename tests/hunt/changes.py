"""A change of a module: what it says, and the nodes that it puts in place of others."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.hunt.places import Path, Place

_TEXT_MAX = 70

FRESH = "hunt_fresh"
"""The name under which a mutant finds `hunt_fresh`: its argument, made different at every call."""

FIRST = "hunt_first"
"""The name under which a mutant finds `hunt_first`: the first element alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        what: before and after, in one line.
        edits: the way to each node that is replaced, and what stands there afterwards.
    """

    what: str
    edits: tuple[tuple[Path, ast.AST], ...]


Slip = Callable[[Place], Iterator[Change]]


def becomes(place: Place, after: ast.AST, what: str = "") -> Change:
    """The change that puts `after` in the place of the place."""
    return Change(what or f"{text(place.node)} -> {text(after)}", ((place.path, after),))


def text(node: ast.AST) -> str:
    """A node in one line, not too long."""
    line = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return line if len(line) <= _TEXT_MAX else f"{line[: _TEXT_MAX - 3]}..."


def constant(value: str | int) -> ast.Constant:
    """A literal."""
    return ast.Constant(value=value)


def calling(name: str, *arguments: ast.expr) -> ast.Call:
    """A call of a name."""
    return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=list(arguments), keywords=[])


def arithmetic(left: ast.expr, how: ast.operator, right: int) -> ast.BinOp:
    """A number and a literal."""
    return ast.BinOp(left=left, op=how, right=constant(right))
