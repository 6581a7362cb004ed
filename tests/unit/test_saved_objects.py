"""Kibana's saved objects: their structure, what they refer to, and every field that they name.

They were made after Kibana's own schemas and examples; no Kibana has loaded them here.
"""

import json
from collections.abc import Iterator
from itertools import combinations

import pytest

from elk.generator.objects import COLUMNS, OBJECTS_FILE, as_ndjson, saved_objects
from tests.kit.saved_objects import (
    Json,
    columns_of,
    fields_of,
    lens_of,
    of_type,
    panels_of,
    read_objects,
)
from tests.kit.telemetry import FIELDS

OBJECTS = read_objects()
NUMBERS = {"long"}
OWN_FIELDS = {"log.file.path", "log.offset"}
"""Of a line that could not be read: elk/filebeat.yml puts them there, no record has them."""

# What Kibana's schemas let pass when an object is made (dashboard model 2, search model 5).
MAY_HAVE = {
    "dashboard": {
        *("controlGroupInput", "description", "kibanaSavedObjectMeta", "optionsJSON", "panelsJSON"),
        *("refreshInterval", "timeFrom", "timeRestore", "timeTo", "title", "hits", "version"),
    },
    "index-pattern": {"fieldFormatMap", "name", "timeFieldName", "title"},
    "search": {
        *("columns", "description", "grid", "hideChart", "isTextBasedQuery", "rowHeight", "sort"),
        *("kibanaSavedObjectMeta", "timeRestore", "timeRange", "refreshInterval", "title"),
    },
}
MUST_HAVE = {
    "dashboard": {"title", "panelsJSON"},
    "index-pattern": {"title", "timeFieldName"},
    "search": {"title", "columns", "sort", "kibanaSavedObjectMeta"},
}
SUBJECTS = {
    "orders by state": ("lab.state", "event.action:order-state"),
    "attempts": ("event.action:attempt",),
    "suppressed duplicates": ("labels.suppressed_by:dedupe", "labels.suppressed_by:inbox"),
    "dead letters": ("event.action:dead-letter", "lab.reason"),
    "latency": ("transaction.duration.us", "percentile"),
    "time from creation to a state": ("event.duration", "percentile", "lab.state"),
    "consumer lag": ("lab.lag", "messaging.consumer.group.name"),
    "faults": ("event.action:fault",),
}


def lenses() -> dict[str, Json]:
    """The Lens panels, by their indexes."""
    return {panel["panelIndex"]: lens for panel in panels_of(OBJECTS) if (lens := lens_of(panel))}


# ---- structure


def test_each_line_is_one_object_with_its_own_id() -> None:
    lines = OBJECTS_FILE.read_text("utf-8").splitlines()
    objects = [json.loads(line) for line in lines]

    assert len({(one["type"], one["id"]) for one in objects}) == len(objects)
    assert as_ndjson(saved_objects()) == "".join(f"{line}\n" for line in lines)


def test_every_object_says_by_which_version_it_was_made() -> None:
    # Without one Kibana takes it for a very old object and rewrites it.
    for one in OBJECTS:
        assert one["coreMigrationVersion"] == "8.8.0"
        assert one["typeMigrationVersion"].count(".") == 2


def test_no_object_has_an_attribute_that_kibana_refuses() -> None:
    for one in OBJECTS:
        names = set(one["attributes"])
        assert names <= MAY_HAVE[one["type"]], one["id"]
        assert names >= MUST_HAVE[one["type"]], one["id"]
        allowed = {"attributes", "coreMigrationVersion", "id", "managed", "references", "type"}
        assert set(one) == {*allowed, "typeMigrationVersion"}


def test_the_panels_lie_on_the_grid_and_not_on_each_other() -> None:
    places = [panel["gridData"] for panel in panels_of(OBJECTS)]

    assert all(place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_every_panel_has_one_index() -> None:
    panels = panels_of(OBJECTS)

    assert all(panel["gridData"]["i"] == panel["panelIndex"] for panel in panels)
    assert len({panel["panelIndex"] for panel in panels}) == len(panels)


def test_every_column_of_a_panel_exists_and_is_shown() -> None:
    for index, lens in lenses().items():
        shape = lens["state"]["visualization"]
        for name, layer in lens["state"]["datasourceStates"]["formBased"]["layers"].items():
            assert sorted(layer["columnOrder"]) == sorted(layer["columns"]), index
            layers = shape.get("layers", [shape])
            (shown,) = (one for one in layers if one["layerId"] == name)
            texts = json.dumps(shown)
            assert all(f'"{column}"' in texts for column in layer["columns"]), index
        columns = columns_of(lens)
        for column in columns.values():
            by = column["params"].get("orderBy", {}).get("columnId")
            assert by is None or columns[by]["isBucketed"] is False, index


# ---- references


def needed_references(lens: Json) -> Iterator[str]:
    """The names under which a Lens panel looks for its data views."""
    for layer in lens["state"]["datasourceStates"]["formBased"]["layers"]:
        yield f"indexpattern-datasource-layer-{layer}"
    for layer in lens["state"]["visualization"].get("layers", ()):
        if layer["layerType"] == "annotations":
            yield f"xy-visualization-layer-{layer['layerId']}"


def test_everything_that_is_referred_to_is_in_the_file() -> None:
    there = {(one["type"], one["id"]) for one in OBJECTS}
    named = [reference for one in OBJECTS for reference in one["references"]]
    named += [reference for lens in lenses().values() for reference in lens["references"]]
    assert named

    assert {(one["type"], one["id"]) for one in named} <= there


def test_every_panel_finds_what_it_shows_by_the_names_that_kibana_looks_for() -> None:
    (board,) = of_type(OBJECTS, "dashboard").values()
    names = {reference["name"] for reference in board["references"]}
    wanted = {"controlGroup_run:optionsListDataView"}
    for panel in panels_of(OBJECTS):
        index = panel["panelIndex"]
        if "panelRefName" in panel:
            wanted.add(f"{index}:{panel['panelRefName']}")
        if lens := lens_of(panel):
            own = set(needed_references(lens))
            assert {reference["name"] for reference in lens["references"]} == own
            wanted |= {f"{index}:{name}" for name in own}

    assert names == wanted


def test_every_search_finds_its_data_view() -> None:
    for one in of_type(OBJECTS, "search").values():
        source = one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"]
        assert [reference["name"] for reference in one["references"]] == [source["indexRefName"]]


def test_the_data_views_cover_the_streams_that_filebeat_and_the_templates_name() -> None:
    titles = {one["attributes"]["title"] for one in of_type(OBJECTS, "index-pattern").values()}

    assert titles == {"logs-orders.*-*", "traces-apm-*", "logs-lab.unparsed-*"}


# ---- fields


def wrong_fields(objects: list[Json]) -> list[str]:
    """Fields that nobody writes, or that cannot be used as they are."""
    found = []
    for one in fields_of(objects):
        field = FIELDS.get(one.field)
        if field is None:
            if one.field not in OWN_FIELDS:
                found.append(f"{one.place}: {one.field} is not on the list")
            continue
        fits = {
            "bucket": field.type == "keyword",
            "number": field.type in NUMBERS,
            "time": field.type == "date",
        }
        if not fits.get(one.use, True):
            found.append(f"{one.place}: {one.field} is {field.type}, no {one.use}")
        if field.values:
            odd = set(one.values) - set(field.values)
            found += [f"{one.place}: {one.field} is never {value}" for value in sorted(odd)]
    return found


def test_every_field_that_is_named_is_one_that_the_lab_writes() -> None:
    assert len(list(fields_of(OBJECTS))) > 60
    assert wrong_fields(OBJECTS) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("lab.reason", "lab.cause", "lab.cause is not on the list"),
        ("event.action:fault", "event.action:faults", "event.action is never faults"),
        ("lab.lag", "lab.tier", "lab.tier is keyword, no number"),
        (
            '"sourceField\\":\\"lab.state',
            '"sourceField\\":\\"lab.lag',
            "lab.lag is long, no bucket",
        ),
        ("labels.suppressed_by:inbox", "suppressed:inbox", "suppressed is not on the list"),
    ],
)
def test_a_field_that_nobody_writes_is_found(right: str, wrong: str, fault: str) -> None:
    text = OBJECTS_FILE.read_text("utf-8")
    assert right in text

    found = wrong_fields(read_objects(text.replace(right, wrong)))

    assert any(one.endswith(fault) for one in found), found


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_dashboard_shows(subject: str) -> None:
    texts = [json.dumps(lens) for lens in lenses().values()]

    assert any(all(word in text for word in SUBJECTS[subject]) for text in texts)


def test_faults_stand_as_lines_in_every_chart_over_time() -> None:
    charts = [
        lens
        for lens in lenses().values()
        if any(column["operationType"] == "date_histogram" for column in columns_of(lens).values())
    ]
    assert len(charts) >= 4

    for lens in charts:
        layers = lens["state"]["visualization"]["layers"]
        marks = [mark for layer in layers for mark in layer.get("annotations", ())]
        assert "event.action:fault" in [mark["filter"]["query"] for mark in marks], lens["title"]


def test_the_chosen_run_counts_for_the_lines_too() -> None:
    layers = [one for lens in lenses().values() for one in
              lens["state"]["visualization"].get("layers", ())]  # fmt: skip

    assert {one["ignoreGlobalFilters"] for one in layers if "annotations" in one} == {False}
