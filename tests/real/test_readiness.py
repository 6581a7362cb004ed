"""Whether a server is there and fit for use, asked of real ones."""

from collections.abc import Mapping

import pytest

from lab.wiring.backends.elk_readiness import look_at_elk
from lab.wiring.backends.readiness import ServerState, look_at_servers
from tests.kit.real_servers import need

pytestmark = pytest.mark.real


def look(**changed: str) -> Mapping[str, ServerState]:
    """The states by server, at the real addresses but for what is changed."""
    named = {
        "KAFKA_BOOTSTRAP": need("kafka"),
        "POSTGRES_DSN": need("postgres"),
        "REDIS_URL": need("redis"),
    }
    return {state.name: state for state in look_at_servers({**named, **changed})}


def test_servers_that_run_are_ready_and_tell_their_versions() -> None:
    states = look()

    assert [state.problem for state in states.values()] == ["", "", ""]
    assert all(state.version[0].isdigit() for state in states.values())


def test_a_database_that_does_not_exist_is_said_and_the_others_are_ready_all_the_same() -> None:
    states = look(POSTGRES_DSN=f"{need('postgres')}-of-nobody")

    assert "does not exist" in states["PostgreSQL"].problem
    assert states["Kafka"].problem == states["Redis"].problem == ""


def test_a_password_that_is_refused_is_never_told() -> None:
    address = need("redis").removeprefix("redis://")

    state = look(REDIS_URL=f"redis://nobody:s3cr3t@{address}")["Redis"]

    assert state.problem
    assert "s3cr3t" not in repr(state)


def test_another_program_at_the_address_is_no_server() -> None:
    redis = need("redis").removeprefix("redis://").partition("/")[0]

    states = look(KAFKA_BOOTSTRAP=redis, POSTGRES_DSN=f"postgresql://lab@{redis}/lab")

    assert states["Kafka"].problem
    assert states["PostgreSQL"].problem


def test_the_search_server_is_ready_and_says_what_it_is() -> None:
    (state,) = look_at_elk({"ELASTICSEARCH_URL": need("search")})

    assert state.problem == ""
    assert state.version == "7.10.2, OpenSearch"
