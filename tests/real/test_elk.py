"""`elk/` against a real search server: templates, mappings, and what each panel would show.

OpenSearch stands in for Elasticsearch. Policies, which only Elasticsearch has, are tried with a
server that answers as it would (`tests/unit/test_elk_setup.py`).
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.panel_questions import Shown, ask_marks, ask_panel
from tests.kit.real_servers import need
from tests.kit.saved_objects import columns_of, lens_of, of_type, panels_of, read_objects
from tests.kit.search_server import SETUP, SearchServer, run_setup
from tests.kit.telemetry import FIELDS, Record, faults_of, make_log, make_span, make_transaction

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]

LOGS = "logs-orders.lab-default"
TRACES = "traces-apm-default"
TEMPLATES = ("logs-orders.lab", "logs-lab.unparsed", "logs-apm.error.lab", "traces-apm.lab")


@pytest.fixture
def server() -> Iterator[SearchServer]:
    """The server with the templates loaded and empty streams, which are gone afterwards."""
    with SearchServer(need("search")) as server:
        server.forget(LOGS, TRACES)
        done = run_setup(server.url)
        assert done.returncode == 0, done.stdout + done.stderr
        yield server
        server.forget(LOGS, TRACES)


# ---- templates


def test_every_template_is_accepted_and_accepted_again(server: SearchServer) -> None:
    again = run_setup(server.url)

    assert again.returncode == 0, again.stdout
    assert "FAILED" not in again.stdout
    assert f"there   _data_stream/{LOGS}" in again.stdout
    for name in TEMPLATES:
        (kept,) = server.ask("GET", f"/_index_template/{name}")["index_templates"]
        assert "orders-lab@settings" in kept["index_template"]["composed_of"]


def test_a_server_without_policies_is_told_of_and_gets_everything_else(
    server: SearchServer,
) -> None:
    told = run_setup(server.url).stdout

    assert "skipped _ilm/policy/orders-lab" in told
    (empty,) = server.ask("GET", "/_component_template/orders-lab@lifecycle")["component_templates"]
    assert not empty["component_template"]["template"].get("settings")


def test_a_template_that_is_refused_is_named_and_the_others_are_loaded(
    server: SearchServer, tmp_path: Path
) -> None:
    copied = shutil.copytree(SETUP.parent, tmp_path / "elk")
    broken = copied / "server" / "_component_template" / "orders-lab@settings.json"
    broken.write_text(broken.read_text("utf-8").replace("number_of_replicas", "number"), "utf-8")

    done = run_setup(server.url, setup=copied / "setup")

    assert done.returncode == 1
    (failed,) = (line for line in done.stdout.splitlines() if line.startswith("FAILED"))
    assert "_component_template/orders-lab@settings: HTTP 400" in failed
    assert "index.number" in failed
    assert "loaded  _index_template/logs-orders.lab" in done.stdout


def test_both_kinds_of_record_go_to_data_streams_whose_ids_are_unique(server: SearchServer) -> None:
    server.store([make_log(1), make_transaction(1), make_span(2)])

    for stream, count in ((LOGS, 1), (TRACES, 2)):
        (kept,) = server.ask("GET", f"/_data_stream/{stream}")["data_streams"]
        assert len(kept["indices"]) == 1
        assert server.count(stream) == count


# ---- mappings


def example(type_of_field: str) -> Any:
    """A value of the type."""
    numbers: dict[str, Any] = {
        "long": 7,
        "boolean": True,
        "date": "2026-01-01T00:00:00.000Z",
    }
    return numbers.get(type_of_field, "word")


def test_every_field_of_the_list_is_kept_and_found(server: SearchServer) -> None:
    fixed = {name for name, field in FIELDS.items() if field.values or field.required}
    extra: dict[str, Any] = {
        name.replace(".", "__"): example(field.type)
        for name, field in FIELDS.items()
        if name not in fixed
    }
    record = make_log(1, **extra)
    assert faults_of(record) == []

    server.store([record])

    for name, field in FIELDS.items():
        if name in fixed:
            continue
        value = str(example(field.type)).lower() if field.type == "boolean" else example(field.type)
        query = {"query_string": {"query": f'{name}:"{value}"'}}
        assert server.count(LOGS, query) == 1, name


def test_a_value_of_another_type_costs_that_field_and_not_the_record(server: SearchServer) -> None:
    server.store([make_log(1, lab__lag="many")])

    assert server.count(LOGS, {"term": {"_ignored": "lab.lag"}}) == 1
    assert server.count(LOGS, {"term": {"event.action": "retry"}}) == 1


def test_a_field_that_is_not_on_the_list_is_kept_as_a_word(server: SearchServer) -> None:
    server.store([make_log(1, labels__start="not a date", lab__colour="2026-01-01")])

    assert server.count(LOGS, {"term": {"labels.start": "not a date"}}) == 1
    assert server.count(LOGS, {"term": {"lab.colour": "2026-01-01"}}) == 1


# ---- panels


def sample() -> list[Record]:
    """A small run: three orders, one of them dead, one suppressed duplicate, one fault."""
    group = {"messaging__consumer__group__name": "payment"}
    states = [(1, "NEW"), (1, "CONFIRMED"), (2, "NEW"), (2, "CONFIRMED"), (3, "NEW")]
    logs = [
        make_log(
            n,
            action="order-state",
            labels__order_id=f"o{order}",
            lab__state=state,
            event__duration=n * 1_000_000,
        )
        for n, (order, state) in enumerate(states)
    ]
    logs += [
        make_log(10, action="retry", lab__tier="tier.1", **group),
        make_log(11, action="dead-letter", lab__reason="permanent", lab__attempts=6, **group),
        make_log(12, action="dead-letter", lab__reason="poison", lab__attempts=2, **group),
        make_log(13, action="lag", lab__lag=4, **group),
        make_log(14, action="lag", lab__lag=9, **group),
        make_log(15, action="fault", lab__fault__kind="bus.duplicate"),
        make_log(16, action="phase", lab__phase="heal"),
    ]
    deliveries = [
        make_transaction(20, service__name="lab-payment", transaction__duration__us=900),
        make_transaction(
            22,
            service__name="lab-payment",
            transaction__duration__us=100,
            labels__suppressed_by="inbox",
        ),
    ]
    attempts = [
        make_span(21 + n, lab__attempt=ordinal, event__outcome=outcome)
        for n, (ordinal, outcome) in enumerate([(1, "failure"), (2, "success"), (1, "success")])
    ]
    return [*logs, *deliveries, *attempts]


SHOWN: dict[str, Shown] = {
    "Orders": {(): {"Orders": 3}},
    "Attempts, all": {(): {"Attempts": 3}},
    "Retries": {(): {"Retries": 1}},
    "Duplicates suppressed": {(): {"Duplicates suppressed": 1}},
    "Dead letters, all": {(): {"Dead letters": 2}},
    "Faults": {(): {"Faults": 1}},
    "Orders by state (of runs)": {("NEW",): {"Orders": 3}, ("CONFIRMED",): {"Orders": 2}},
    "Attempts": {
        (): {"first, succeeded": 1, "later, succeeded": 1, "failed": 1, "unknown": 0},
    },
    "From creation to a state (of runs), 95 of 100 below": {
        ("NEW",): {"p95": 4_000_000},
        ("CONFIRMED",): {"p95": 3_000_000},
    },
    "Latency of services, 95 of 100 below": {("lab-payment",): {"p95": 900}},
    "Consumer lag (of simulated runs)": {("payment",): {"records behind": 9}},
    "Suppressed duplicates": {(): {"dedupe": 0, "inbox": 1}},
    "Dead letters": {
        ("payment", "permanent"): {"Dead letters": 1, "Attempts, most": 6},
        ("payment", "poison"): {"Dead letters": 1, "Attempts, most": 2},
    },
}
"""What each panel shows of the sample, by its title; a large number has none, but a label."""


def test_every_panel_shows_what_happened_and_nothing_of_another_run(server: SearchServer) -> None:
    records = sample()
    assert [faults_of(record) for record in records] == [[]] * len(records)
    others = json.loads(json.dumps(records).replace("run-1", "run-2"))
    server.store([*records, *others, *others])
    objects = read_objects()
    titles = {
        name: one["attributes"]["title"] for name, one in of_type(objects, "index-pattern").items()
    }
    seen: dict[str, Shown] = {}
    for panel in panels_of(objects):
        if not (lens := lens_of(panel)):
            continue
        views = {one["name"]: titles[one["id"]] for one in lens["references"]}
        title = lens["title"]
        if not title:
            (column,) = columns_of(lens).values()
            title = column["label"] if column["label"] in SHOWN else ""
            title = title if title not in ("Attempts", "Dead letters") else f"{title}, all"
        data = views["indexpattern-datasource-layer-data"]
        seen[title] = ask_panel(server, data, lens, "run-1")
        if marks := views.get("xy-visualization-layer-marks"):
            assert ask_marks(server, marks, lens, "run-1") == {"Fault": 1, "Phase": 1}, title

    assert seen == SHOWN
