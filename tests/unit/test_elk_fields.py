"""The list of fields, the mappings made of it, and the check of a record against it."""

import json
from pathlib import Path
from typing import Any

import pytest

from elk.generator.__main__ import made_files
from elk.generator.fields import FIELDS_FILE, component_template, read_fields
from tests.kit.telemetry import (
    FIELDS,
    Record,
    faults_of,
    make_error,
    make_log,
    make_span,
    make_transaction,
)

KINDS = {
    "log": make_log(1),
    "transaction": make_transaction(1),
    "span": make_span(2),
    "error": make_error(2),
}


@pytest.mark.parametrize("file", made_files(), ids=lambda file: file.name)
def test_what_is_made_has_not_drifted(file: Path) -> None:
    text = made_files()[file]

    assert file.read_text("utf-8") == text, "write it again: python -m elk.generator"


def test_the_list_is_in_order_and_names_each_field_once() -> None:
    lines = FIELDS_FILE.read_text("utf-8").splitlines()[2:]
    names = [line.split(",", 1)[0] for line in lines]

    assert names == sorted(set(names))
    assert len(names) == len(FIELDS)


def test_every_field_has_a_known_origin_and_type_and_a_meaning() -> None:
    for field in FIELDS.values():
        assert field.origin in {"ecs", "apm", "otel", "lab"}, field
        assert set(field.required) <= set(KINDS), field
        assert field.meaning, field
        assert field.origin != "lab" or field.name.startswith(("lab.", "labels.")), field


def test_no_field_is_both_a_value_and_a_parent() -> None:
    parents = {name.rsplit(".", depth)[0] for name in FIELDS for depth in range(1, 4)}
    parents -= {name for name in FIELDS if "." not in name}

    assert not parents & set(FIELDS)


def mapped(properties: dict[str, Any], above: str = "") -> dict[str, str]:
    """The type of each field that is mapped."""
    found: dict[str, str] = {}
    for name, one in properties.items():
        if "properties" in one:
            found |= mapped(one["properties"], f"{above}{name}.")
        else:
            found[f"{above}{name}"] = one["type"]
    return found


def test_every_field_is_mapped_as_the_type_that_it_has() -> None:
    template: Any = component_template(FIELDS)

    types = mapped(template["template"]["mappings"]["properties"])

    assert types == {name: one.type.removeprefix("constant_") for name, one in FIELDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_with_what_every_one_has_is_right(kind: str) -> None:
    assert faults_of(KINDS[kind]) == []


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"lab__colour": "red"}, "lab.colour is not on the list"),
        ({"lab__lag": "7"}, "lab.lag is no long: '7'"),
        ({"lab__lag": True}, "lab.lag is no long: True"),
        ({"@timestamp": "2026-01-01T00:00:00Z"}, "@timestamp is no date: '2026-01-01T00:00:00Z'"),
        ({"event__outcome": "ok"}, "event.outcome may not be 'ok'"),
        ({"tags": ["a", 1]}, "tags is no keyword: 1"),
        ({"message": None}, "message is no match_only_text: None"),
    ],
)
def test_a_wrong_field_is_found(fields: Record, fault: str) -> None:
    assert faults_of(make_log(1, **fields)) == [fault]


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_record_of_its_kind_has_is_missed(kind: str) -> None:
    needed = [field.name for field in read_fields().values() if kind in field.required]
    assert needed
    for name in needed:
        record = json.loads(json.dumps(KINDS[kind]))
        *parents, last = name.split(".")
        place = record
        for parent in parents:
            place = place[parent]
        del place[last]

        assert faults_of(record), name


def test_links_to_several_spans_are_looked_at_one_by_one() -> None:
    links = [{"trace": {"id": "a"}, "span": {"id": "b"}}, {"trace": {"id": 1}, "span": {"id": "c"}}]

    assert faults_of(make_span(2, span__links=links)) == ["span.links.trace.id is no keyword: 1"]
