"""Whether Elasticsearch and Kibana can be used, as they tell it."""

from collections.abc import Iterator

import pytest

from lab.wiring.backends.elk_readiness import elk_addresses, look_at_elk
from lab.wiring.backends.readiness import ServerState
from tests.kit.http_stand_in import StandIn

STATUS = ("GET", "/api/status")
ROOT = ("GET", "/")
KIBANA = {"version": {"number": "9.5.1"}, "status": {"overall": {"level": "available"}}}


@pytest.fixture
def server() -> Iterator[StandIn]:
    """Both at one address."""
    with StandIn() as server:
        yield server


def look(url: str, variable: str) -> ServerState:
    """The state of the one that is named."""
    (state,) = look_at_elk({variable: url})
    return state


def test_what_no_variable_names_is_not_looked_at() -> None:
    assert look_at_elk({"ELASTICSEARCH_PORT": "9"}) == []


@pytest.mark.parametrize(
    ("told", "version"),
    [
        (
            {"version": {"number": "9.5.1"}, "tagline": "You Know, for Search"},
            "9.5.1",
        ),
        (
            {"version": {"number": "7.10.2"}, "tagline": "The OpenSearch Project"},
            "7.10.2, OpenSearch",
        ),
    ],
)
def test_elasticsearch_tells_its_version_and_a_stand_in_its_name(
    server: StandIn, told: object, version: str
) -> None:
    server.answers[ROOT] = (200, told)

    state = look(server.url, "ELASTICSEARCH_URL")

    assert (state.version, state.problem, state.remedy) == (version, "", "")
    assert state.address == server.url


def test_kibana_is_ready_when_it_says_so(server: StandIn) -> None:
    server.answers[STATUS] = (200, KIBANA)

    assert look(server.url, "KIBANA_URL").version == "9.5.1"


@pytest.mark.parametrize(
    ("code", "told", "problem"),
    [
        (200, {**KIBANA, "status": {"overall": {"level": "degraded"}}}, "it is degraded"),
        (503, {**KIBANA, "status": {"overall": {"level": "unavailable"}}}, "it is unavailable"),
        (503, b"Kibana server is not ready yet", "it is not ready yet"),
        (401, {}, "it wants a user and a password"),
        (404, b"<html>", "another program answers there (HTTP 404)"),
        (200, [1], "another program answers there (HTTP 200)"),
    ],
)
def test_a_kibana_that_cannot_be_used_says_why(
    server: StandIn, code: int, told: object, problem: str
) -> None:
    server.answers[STATUS] = (code, told)

    state = look(server.url, "KIBANA_URL")

    assert (state.version, state.problem) == ("", problem)
    assert "lab up --elk" in state.remedy
    assert "LAB_KIBANA_URL" in state.remedy


@pytest.mark.parametrize(
    ("code", "told"),
    [(200, {}), (200, b"\xff\xfe"), (200, {"version": "9"}), (500, {"version": {}})],
)
def test_another_program_is_not_taken_for_elasticsearch(
    server: StandIn, code: int, told: object
) -> None:
    server.answers[ROOT] = (code, told)

    assert f"HTTP {code}" in look(server.url, "ELASTICSEARCH_URL").problem


def test_nobody_at_the_address_is_said_with_what_starts_one() -> None:
    state = look("http://127.0.0.1:9", "ELASTICSEARCH_URL")

    assert state.problem == "it does not answer"
    assert "up search" in state.remedy


@pytest.mark.parametrize(
    "url",
    [
        "elsewhere",
        "ftp://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://lab:s3cr3t@127.0.0.1:99999",
        "http://lab:s3cr3t/@127.0.0.1:9",
        "http://lab:s3cr3t@@@127.0.0.1:9",
    ],
)
def test_an_address_that_cannot_be_read_is_said_and_never_shows_a_password(url: str) -> None:
    state = look(url, "ELASTICSEARCH_URL")

    assert state.problem
    assert "LAB_ELASTICSEARCH_URL" in state.remedy
    assert "s3cr3t" not in repr(state)


def test_a_user_and_a_password_are_sent_and_not_shown(server: StandIn) -> None:
    server.answers[ROOT] = (200, {"version": {"number": "9.5.1"}})

    state = look(server.url.replace("://", "://lab:s3cr3t@"), "ELASTICSEARCH_URL")

    assert state.address == server.url
    assert server.headers["/"]["authorization"].startswith("Basic ")


def test_the_addresses_follow_the_ports_that_were_chosen() -> None:
    assert elk_addresses({"KIBANA_PORT": "15601"}) == {
        "ELASTICSEARCH_URL": "http://127.0.0.1:9200",
        "KIBANA_URL": "http://127.0.0.1:15601",
    }
