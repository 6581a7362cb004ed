"""Kibana's saved objects as a test sees them: unpacked, with the fields that they name.

Not here: making them (`elk/generator`).
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from elk.generator.objects import OBJECTS_FILE

Json = dict[str, Any]

PACKED: Final = {
    "dashboard": ("controlGroupInput.ignoreParentSettingsJSON", "controlGroupInput.panelsJSON",
                  "kibanaSavedObjectMeta.searchSourceJSON", "optionsJSON", "panelsJSON"),
    "index-pattern": ("fieldFormatMap",),
    "search": ("kibanaSavedObjectMeta.searchSourceJSON",),
}  # fmt: skip
"""Attributes that are JSON within JSON."""


@dataclass(frozen=True, slots=True)
class Named:
    """A field that an object names.

    Attributes:
        field: its name.
        use: what it is named for: `column`, `bucket`, `number`, `time`, `query`, `told`.
        values: the values that a query compares it with.
        place: where, for a message.
    """

    field: str
    use: str
    place: str
    values: Sequence[str] = ()


def read_objects(text: str | None = None) -> list[Json]:
    """Every object of the file, with what is packed unpacked."""
    lines = (OBJECTS_FILE.read_text("utf-8") if text is None else text).splitlines()
    objects = [json.loads(line) for line in lines]
    for one in objects:
        for path in PACKED[one["type"]]:
            *parents, last = path.split(".")
            place = one["attributes"]
            for parent in parents:
                place = place[parent]
            if last in place:
                assert isinstance(place[last], str), path
                place[last] = json.loads(place[last])
    return objects


def of_type(objects: Sequence[Json], kind: str) -> dict[str, Json]:
    """The objects of a type, by their ids."""
    return {one["id"]: one for one in objects if one["type"] == kind}


def panels_of(objects: Sequence[Json]) -> list[Json]:
    """The panels of every dashboard."""
    boards = of_type(objects, "dashboard").values()
    return [panel for board in boards for panel in board["attributes"]["panelsJSON"]]


def lens_of(panel: Json) -> Json:
    """The attributes of a Lens panel; {} of another one."""
    found: Json = panel["embeddableConfig"].get("attributes", {})
    return found


def columns_of(lens: Json) -> dict[str, Json]:
    """All columns of all layers of a Lens panel."""
    layers = lens["state"]["datasourceStates"]["formBased"]["layers"]
    return {name: column for layer in layers.values() for name, column in layer["columns"].items()}


def fields_of(objects: Sequence[Json]) -> Iterator[Named]:
    """Every field that any of the objects names."""
    for one in objects:
        place, attributes = f"{one['type']} {one['id']}", one["attributes"]
        if one["type"] == "index-pattern":
            yield Named(attributes["timeFieldName"], "time", place)
            for field in attributes.get("fieldFormatMap", {}):
                yield Named(field, "number", place)
        elif one["type"] == "search":
            yield from (Named(field, "column", place) for field in attributes["columns"])
            yield from (Named(field, "time", place) for field, _ in attributes["sort"])
            source = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]
            yield from _of_query(source["query"]["query"], place)
        else:
            for control in attributes["controlGroupInput"]["panelsJSON"].values():
                yield Named(control["explicitInput"]["fieldName"], "bucket", place)
    for panel in panels_of(objects):
        if lens := lens_of(panel):
            yield from _of_lens(lens, f"panel {panel['panelIndex']} {lens['title']}")


_USES: Final = {
    "date_histogram": "time",
    "max": "number",
    "percentile": "number",
    "terms": "bucket",
    "unique_count": "bucket",
}


def _of_lens(lens: Json, place: str) -> Iterator[Named]:
    yield from _of_query(lens["state"]["query"]["query"], place)
    for column in columns_of(lens).values():
        if column["operationType"] != "count":
            yield Named(column["sourceField"], _USES[column["operationType"]], place)
        yield from _of_query(column.get("filter", {}).get("query", ""), place)
    for layer in lens["state"]["visualization"].get("layers", ()):
        for mark in layer.get("annotations", ()):
            yield Named(mark["timeField"], "time", place)
            yield from (Named(field, "told", place) for field in mark["extraFields"])
            yield from _of_query(mark["filter"]["query"], place)


# field:value, field:>1, field:(a OR b), field:*
_TERM: Final = re.compile(r"([@\w.]+):(?:\(([^)]*)\)|>?([\w.-]+|\*))")


def _of_query(query: str, place: str) -> Iterator[Named]:
    rest = _TERM.sub("", query).replace(" AND ", "").strip()
    assert not rest, f"{place}: a query that is not understood: {rest}"
    for field, several, single in _TERM.findall(query):
        values = tuple(several.split(" OR ")) if several else (single,)
        yield Named(field, "query", place, tuple(value for value in values if value != "*"))
