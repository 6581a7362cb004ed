"""The clients of a Kafka that cannot be reached: what one failure leaves to the next call.

The client library is replaced by one whose every start fails when the test says so.
"""

import asyncio
from typing import Any

import pytest
from aiokafka import errors as kafka_errors

from lab.bus.kafka import publisher as kafka
from lab.bus.kafka import reader as kafka_reader
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.lag import KafkaWatch
from lab.bus.kafka.publisher import KafkaPublisher
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, Transient
from lab.ports.bus import Outgoing

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")
RECORD = Outgoing("orders", b"k", b"v", ())


class Unreachable:
    """A client that waits to be told how its start ends."""

    def __init__(self, **_: object) -> None:
        self.client = self
        self.is_stopped = False
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        clients.append(self)

    async def start(self) -> None:
        await self.outcome

    async def stop(self) -> None:
        self.is_stopped = True

    close = stop

    def assign(self, places: object) -> None:
        """Nothing is asked of it."""

    def pause(self, *places: object) -> None:
        """Nothing is fetched."""

    async def end_offsets(self, places: Any) -> dict[Any, int]:
        return dict.fromkeys(places, 3)


clients: list[Unreachable] = []


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every producer and reader is one of ours."""
    clients.clear()
    monkeypatch.setattr(kafka, "AIOKafkaProducer", Unreachable)
    monkeypatch.setattr(kafka_reader, "AIOKafkaConsumer", Unreachable)


async def let_run() -> None:
    """Every other task goes on until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_publishes_again_at_once_takes_nothing_from_those_who_waited_with_him() -> None:
    async def main() -> list[BaseException | None]:
        publisher = KafkaPublisher(NOWHERE, "p")

        async def stubborn() -> None:
            try:
                await publisher.publish([RECORD])
            except Transient:
                await publisher.publish([RECORD])

        first = asyncio.ensure_future(stubborn())
        second = asyncio.ensure_future(publisher.publish([RECORD]))
        await let_run()
        clients[0].outcome.set_exception(kafka_errors.KafkaConnectionError())
        await let_run()
        assert second.done()
        assert not first.done(), "it has begun again"
        clients[1].outcome.set_exception(kafka_errors.KafkaConnectionError())
        return list(await asyncio.gather(first, second, return_exceptions=True))

    assert [type(error) for error in asyncio.run(main())] == [Transient, Transient]


class Committed(KafkaTopics):
    """Groups that have committed nothing."""

    async def committed(self, group: str) -> dict[Any, int]:  # noqa: ARG002 - the shape of `KafkaTopics`
        return {}


@pytest.mark.parametrize("end", ["refused", "cancelled"])
def test_a_look_at_the_lag_that_did_not_come_to_be_hinders_no_other(end: str) -> None:
    async def main() -> int:
        watch = KafkaWatch(NOWHERE, Committed(NOWHERE), {"g": ["orders"]}, partitions=2)
        looking = asyncio.ensure_future(watch.lag())
        await let_run()
        if end == "refused":
            clients[0].outcome.set_exception(kafka_errors.KafkaConnectionError())
        else:
            looking.cancel()
        with pytest.raises((Transient, asyncio.CancelledError)):
            await looking
        assert clients[0].is_stopped
        again = asyncio.ensure_future(watch.lag())
        await let_run()
        clients[1].outcome.set_result(None)
        return await again

    assert asyncio.run(main()) == 6


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:65536", "a..b:9092", f"{'a' * 64}.de:9092"])
def test_an_address_that_nobody_can_look_up_is_refused(bootstrap: str) -> None:
    async def main() -> None:
        async with KafkaTopics(KafkaSettings(bootstrap=bootstrap)):
            pass

    with pytest.raises(EnvironmentNotReady, match="LAB_KAFKA_BOOTSTRAP must be HOST:PORT"):
        asyncio.run(main())


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:65535", "kafka.example.com.:9092", "[::1]:1"])
def test_an_address_that_can_be_looked_up_is_shown(bootstrap: str) -> None:
    assert KafkaSettings(bootstrap=bootstrap).where == bootstrap
