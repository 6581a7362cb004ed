"""`elk/setup` against a server that answers as Elasticsearch and Kibana would, and against none."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.http_stand_in import StandIn
from tests.kit.search_server import SETUP, run_setup

pytestmark = pytest.mark.slow

SERVER = SETUP.parent / "server"
NOWHERE = "http://127.0.0.1:9"
IMPORT = "/api/saved_objects/_import?overwrite=true"
STREAM = "/_data_stream/logs-orders.lab-default"


@pytest.fixture
def elastic() -> Iterator[StandIn]:
    """A server that is Elasticsearch and Kibana at one address."""
    with StandIn() as server:
        server.answers[("POST", IMPORT)] = (200, {"success": True})
        yield server


def files() -> dict[str, Path]:
    """What is put, by its path at the server."""
    return {
        f"/{file.relative_to(SERVER).with_suffix('').as_posix()}": file
        for file in SERVER.rglob("*.json")
    }


def test_every_file_is_put_to_its_path_and_what_is_named_goes_first(elastic: StandIn) -> None:
    done = run_setup(elastic.url, elastic.url)

    assert done.returncode == 0, done.stdout
    put = [path for method, path, _ in elastic.asked if method == "PUT"]
    assert set(put) == {*files(), STREAM}
    kinds = [path.split("/")[1] for path in put]
    assert kinds == sorted(kinds, key=["_ilm", "_component_template", "_index_template",
                                       "_data_stream"].index)  # fmt: skip
    for path, file in files().items():
        assert elastic.sent(path) == json.loads(file.read_text("utf-8"))


def test_every_component_and_policy_that_is_named_is_among_the_files() -> None:
    names = {path.rsplit("/", 1)[1] for path in files() if "_component_template" in path}
    for path, file in files().items():
        one = json.loads(file.read_text("utf-8"))
        assert set(one.get("composed_of", ())) <= names, path
    lifecycle = json.loads(files()["/_component_template/orders-lab@lifecycle"].read_text("utf-8"))
    policy = lifecycle["template"]["settings"]["index.lifecycle.name"]
    assert f"/_ilm/policy/{policy}" in files()


def test_the_saved_objects_are_imported_as_kibana_wants_them(elastic: StandIn) -> None:
    run_setup(elastic.url, f"{elastic.url}/")

    (sent,) = (body for method, path, body in elastic.asked if path == IMPORT)
    assert elastic.headers[IMPORT]["kbn-xsrf"] == "true"
    assert 'filename="lab.ndjson"' in sent.decode()
    assert (SETUP.parent / "kibana" / "lab.ndjson").read_bytes() in sent


def test_without_a_kibana_nothing_is_imported(elastic: StandIn) -> None:
    assert run_setup(elastic.url).returncode == 0
    assert IMPORT not in [path for _, path, _ in elastic.asked]


def test_objects_that_kibana_refuses_in_an_answer_of_200_are_a_failure(elastic: StandIn) -> None:
    refused = {"success": False, "errors": [{"id": "orders-lab", "type": "dashboard"}]}
    elastic.answers[("POST", IMPORT)] = (200, refused)

    done = run_setup(elastic.url, elastic.url)

    assert done.returncode == 1
    (failed,) = (line for line in done.stdout.splitlines() if line.startswith("FAILED"))
    assert "kibana/lab.ndjson" in failed
    assert "orders-lab" in failed


def test_what_is_refused_is_named_and_everything_else_is_loaded(elastic: StandIn) -> None:
    for path in ("/_ilm/policy/orders-lab", "/_index_template/traces-apm.lab"):
        elastic.answers[("PUT", path)] = (400, {"error": {"reason": "too odd"}})

    done = run_setup(elastic.url, elastic.url)

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    assert [line.split()[1] for line in failed] == [
        "_ilm/policy/orders-lab:",
        "_index_template/traces-apm.lab:",
    ]
    assert all("HTTP 400" in line and "too odd" in line for line in failed)
    assert "loaded  kibana/lab.ndjson" in lines


def test_a_stream_that_is_there_is_left_alone(elastic: StandIn) -> None:
    there = {"data_streams": [{"name": "logs-orders.lab-default"}]}
    elastic.answers[("GET", STREAM)] = (200, there)

    assert run_setup(elastic.url).returncode == 0
    assert ("PUT", STREAM) not in [(method, path) for method, path, _ in elastic.asked]


def test_with_nobody_there_each_thing_is_named() -> None:
    done = run_setup(NOWHERE, NOWHERE)

    assert done.returncode == 1
    assert "loaded" not in done.stdout
    for name in ("_component_template/orders-lab@settings", "_index_template/logs-orders.lab"):
        assert f"FAILED  {name}: HTTP 000" in done.stdout
    assert "FAILED  kibana/lab.ndjson" in done.stdout


def test_without_an_address_it_is_wrong_use() -> None:
    done = run_setup("")

    assert done.returncode == 2
    assert "LAB_ELASTICSEARCH_URL" in done.stderr
