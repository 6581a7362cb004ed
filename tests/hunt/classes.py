"""What the classes of the lab hold, read from their source: fields, types, defaults, members.

A slip that takes another field of the same type, or another member of an enum, asks here.
Nothing is imported: what a mutant is must not depend on what happens to be loaded.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from tests.hunt.targets import LAB

_ROOMS: Final = ("domain", "ports", "patterns", "services", "providers", "bus", "stores")


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """One class.

    Attributes:
        fields: annotation by name, in the order of the source, inherited ones first.
        optional: fields with a default.
        members: names of the members of an enum.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    members: tuple[str, ...] = ()

    def like(self, name: str) -> list[str]:
        """The other fields of the same type, those that follow first."""
        names = [each for each, kind in self.fields.items() if kind == self.fields[name]]
        at = names.index(name)
        return names[at + 1 :] + names[:at]


@cache
def class_table() -> Mapping[str, ClassFacts]:
    """Every class of the rooms that matter, by its name; private ones of the first file win."""
    found: dict[str, ClassFacts] = {}
    for room in _ROOMS:
        for path in sorted((LAB / room).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name not in found:
                    found[node.name] = _facts(node, found)
    return found


@cache
def event_types() -> tuple[str, ...]:
    """The types of events, in the order of the source."""
    text = (LAB / "domain" / "events.py").read_text(encoding="utf-8")
    return tuple(node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef))


def _facts(node: ast.ClassDef, known: Mapping[str, ClassFacts]) -> ClassFacts:
    bases = [ast.unparse(base) for base in node.bases]
    if any(base.endswith("Enum") for base in bases):
        return ClassFacts(members=tuple(_members(node)))
    fields: dict[str, str] = {}
    optional: set[str] = set()
    for base in bases:
        if base in known:
            fields |= known[base].fields
            optional |= known[base].optional
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            kind = ast.unparse(item.annotation)
            if kind.startswith(("Final", "ClassVar")):
                continue
            fields[item.target.id] = kind
            if item.value is not None:
                optional.add(item.target.id)
    return ClassFacts(fields, frozenset(optional))


def _members(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            yield item.targets[0].id
