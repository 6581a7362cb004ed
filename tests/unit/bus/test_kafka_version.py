"""What the requests that a broker understands say about its version."""

import asyncio
from types import SimpleNamespace

import pytest

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady

FETCH, METADATA, DESCRIBE_CLUSTER = 1, 3, 60


class Broker:
    """An admin client of a broker that understands these requests, by key and oldest version."""

    def __init__(self, least: dict[int, int]) -> None:
        self._least = least

    async def _send_request(self, request: object) -> SimpleNamespace:
        assert type(request).__name__ == "ApiVersionRequest"
        return SimpleNamespace(
            api_versions=[(key, one, one + 9) for key, one in self._least.items()]
        )


def version_of(least: dict[int, int]) -> str:
    """The version of such a broker."""
    topics = KafkaTopics(KafkaSettings(bootstrap="127.0.0.1:9"))
    topics._admin = Broker(least)
    told = asyncio.run(topics.version())
    assert isinstance(told, str)
    return told


@pytest.mark.parametrize(
    ("least", "version"),
    [
        ({FETCH: 4, METADATA: 0, DESCRIBE_CLUSTER: 0}, "4.0 or newer"),
        ({FETCH: 0, METADATA: 0, DESCRIBE_CLUSTER: 0}, "2.8 to 3.9"),
    ],
)
def test_a_broker_that_is_new_enough_is_told_by_what_it_no_longer_understands(
    least: dict[int, int], version: str
) -> None:
    assert version_of(least) == version


def test_a_broker_that_is_too_old_is_refused_with_the_version_that_is_needed() -> None:
    with pytest.raises(EnvironmentNotReady, match=r"too old; run Apache Kafka 2\.8 or newer"):
        version_of({FETCH: 0, METADATA: 0})
