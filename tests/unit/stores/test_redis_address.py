"""Options in the address of a Redis: those that nobody knows, and those that only we set."""

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.stores.redis.dedupe import CONNECTIONS_MIN, RedisServer, make_client


@pytest.mark.parametrize(
    "options", ["nonsense=1", "socket_timeout=soon", "health_check_interval=x"]
)
def test_an_option_that_cannot_be_read_is_said_without_the_password(options: str) -> None:
    url = f"redis://me:swordfish@127.0.0.1:1/0?{options}"
    with pytest.raises(EnvironmentNotReady, match="its address cannot be read") as told:
        make_client(RedisServer(url=url, prefix="p"))
    assert "swordfish" not in str(told.value)


def test_the_address_changes_no_deadline_and_no_form_of_answer() -> None:
    url = (
        "redis://127.0.0.1:1/2?decode_responses=True&socket_timeout=999&protocol=3"
        "&health_check_interval=1&max_connections=1"
    )
    client = make_client(RedisServer(url=url, prefix="p", timeout_us=2_000_000))
    connection = client.connection_pool.make_connection()
    assert connection.db == 2
    assert connection.socket_timeout == 2
    assert connection.encoder.decode_responses is False
    assert int(connection.protocol) == 2
    assert connection.health_check_interval == 0, "asked before a call, without a deadline"
    assert client.connection_pool.max_connections == CONNECTIONS_MIN
