"""The places of a module at which a slip may strike, each with what it needs to know there.

Left out: annotations, decorators, docstrings, imports, assertions, the texts of errors, and all
that is written for the history: the lab's pen is no part of the system under test.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.hunt.classes import ClassFacts, class_table

Path = tuple[str | int, ...]
"""The way from a module to a node: fields, and numbers in their lists."""

_NEVER: Final = (ast.Import, ast.ImportFrom, ast.Assert, ast.Global, ast.Nonlocal)
_PEN: Final = frozenset({"_acted", "_tell", "_retrying", "note", "_write", "write"})
_FIELDS_LEFT_OUT: Final = frozenset(
    {"annotation", "returns", "decorator_list", "bases", "format_spec", "ctx"}
)
# Names by which the code calls things of a class, where nothing else tells.
_CALLED: Final[Mapping[str, str]] = {
    "alarm": "Delivery",
    "head": "WaitingRow",
    "row": "WaitingRow",
    "run": "HeadRun",
    "captured": "PaymentCaptured",
    "following": "Intent",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """A function, a class or the module around a place.

    Attributes:
        name: dotted, such as `Payment.on_dead`; "" for the module.
        types: annotations of the parameters in sight.
        aliases: other names of enums, such as `S` for `OrderState`.
    """

    name: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    in_function: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """One node, and its surroundings; `parents` are the nodes above, the nearest first."""

    node: ast.AST
    path: Path
    parents: tuple[ast.AST, ...]
    scope: Scope

    @property
    def parent(self) -> ast.AST:
        """The node above."""
        return self.parents[0]

    @property
    def role(self) -> str:
        """The field of the parent that holds the node."""
        return next(str(step) for step in reversed(self.path) if isinstance(step, str))

    def class_of(self, node: ast.AST) -> ClassFacts | None:
        """The class of what an expression stands for, as far as names and annotations tell."""
        name = self._class_name(node)
        return class_table().get(name) if name else None

    def _class_name(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            given = self.scope.types.get(node.id, "").partition(" |")[0]
            return given if given in class_table() else _by_name(node.id)
        if isinstance(node, ast.Attribute):
            holder = self.class_of(node.value)
            kind = "" if holder is None else holder.fields.get(node.attr, "").partition(" |")[0]
            return kind if kind in class_table() else _by_name(node.attr)
        return ""

    def enum_of(self, node: ast.AST) -> tuple[str, ...]:
        """The members of the enum that a name stands for; () if it is none."""
        if not isinstance(node, ast.Name):
            return ()
        facts = class_table().get(self.scope.aliases.get(node.id, node.id))
        return () if facts is None else facts.members


def places_of(module: ast.Module) -> Iterator[Place]:
    """Every place of a module, from top to bottom."""
    aliases = {
        node.targets[0].id: node.value.id
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Name)
    }
    yield from _below(module, (), (), Scope(aliases=aliases))


def _below(
    node: ast.AST, path: Path, parents: tuple[ast.AST, ...], scope: Scope
) -> Iterator[Place]:
    above = (node, *parents)
    for name, value in ast.iter_fields(node):
        if name in _FIELDS_LEFT_OUT or (name == "keywords" and isinstance(node, ast.ClassDef)):
            continue
        if isinstance(value, ast.AST):
            yield from _one(value, (*path, name), above, scope)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _one(item, (*path, name, number), above, scope)


def _one(node: ast.AST, path: Path, above: tuple[ast.AST, ...], scope: Scope) -> Iterator[Place]:
    if _is_left_out(node):
        return
    yield Place(node, path, above, scope)
    if isinstance(node, ast.JoinedStr) and any(isinstance(each, ast.Raise) for each in above[:3]):
        return
    yield from _below(node, path, above, _inside(node, scope))


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, _NEVER):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or is_pen(node.value)
    if isinstance(node, ast.If):
        test = ast.unparse(node.test)
        return "_write" in test or test == "TYPE_CHECKING"
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(
            "__slots__" in (text := ast.unparse(each)) or "_write" in text for each in targets
        )
    return False


def is_pen(node: ast.AST) -> bool:
    """Whether it is a call that only writes for the history."""
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return isinstance(called, ast.Attribute) and called.attr in _PEN


def _inside(node: ast.AST, scope: Scope) -> Scope:
    if isinstance(node, ast.ClassDef):
        return Scope(_dotted(scope, node.name), scope.types, scope.aliases)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        types = {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation}
        return Scope(
            _dotted(scope, node.name), {**scope.types, **types}, scope.aliases, in_function=True
        )
    return scope


def _dotted(scope: Scope, name: str) -> str:
    return f"{scope.name}.{name}" if scope.name else name


def _by_name(name: str) -> str:
    """`open_intent` is no class, `loaded` is `Loaded`, `finding` is `_Finding`."""
    if name in _CALLED:
        return _CALLED[name]
    camel = "".join(part.capitalize() for part in name.strip("_").split("_"))
    return camel if camel in class_table() else f"_{camel}"
