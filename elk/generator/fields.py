"""Every field that the lab writes, out of `elk/fields.csv`, and the mappings made of them.

Not here: who writes them, and which panel shows them (`objects`).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ELK: Final = Path(__file__).resolve().parents[1]
FIELDS_FILE: Final = ELK / "fields.csv"
MAPPINGS_FILE: Final = ELK / "server" / "_component_template" / "orders-lab@mappings.json"

KEYWORD_CHARACTERS_MAX: Final = 1024
"""Of a longer text nothing is indexed; it still stands in the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field.

    Attributes:
        name: with dots, such as `event.action`.
        type: of the mapping.
        origin: `ecs`, `apm`, `otel` or `lab`.
        required: the kinds of record that always have it: `log`, `transaction`, `span`, `error`.
        values: the only values that it takes; () if any.
        meaning: in a few words.
    """

    name: str
    type: str
    origin: str
    required: Sequence[str]
    values: Sequence[str]
    meaning: str


def read_fields(file: Path = FIELDS_FILE) -> Mapping[str, Field]:
    """The fields by their names, in the order of the file."""
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    found = {}
    for row in csv.DictReader(lines, strict=True):
        found[row["field"]] = Field(
            name=row["field"],
            type=row["type"],
            origin=row["origin"],
            required=tuple(row["required"].split()),
            values=tuple(row["values"].split()),
            meaning=row["meaning"],
        )
    return found


def component_template(fields: Mapping[str, Field]) -> Mapping[str, object]:
    """The component template that maps them, and what is not on the list in a way that holds."""
    properties: dict[str, object] = {}
    for field in fields.values():
        _place(properties, field.name.split("."), _mapping(field))
    text = {"type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX}
    dynamic = [{"texts": {"match_mapping_type": "string", "mapping": text}}]
    mappings = {
        "date_detection": False,
        "dynamic_templates": dynamic,
        "properties": properties,
    }
    return {
        "_meta": {"description": "pulse-lab: out of elk/fields.csv by python -m elk.generator"},
        "template": {"mappings": mappings},
    }


def _mapping(field: Field) -> dict[str, object]:
    # Not every server takes a constant keyword whose value comes with the first document.
    mapping: dict[str, object] = {"type": field.type.removeprefix("constant_")}
    if mapping["type"] == "keyword":
        mapping["ignore_above"] = KEYWORD_CHARACTERS_MAX
    return mapping


def _place(properties: dict[str, object], path: Sequence[str], mapping: dict[str, object]) -> None:
    """Put a mapping below its parents, making them."""
    first, *rest = path
    if not rest:
        assert first not in properties, path
        properties[first] = mapping
        return
    parent = properties.setdefault(first, {"properties": {}})
    assert isinstance(parent, dict)
    assert "type" not in parent, path
    _place(parent["properties"], rest, mapping)
