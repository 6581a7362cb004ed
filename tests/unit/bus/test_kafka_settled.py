"""Topics that were just made: nobody joins before the broker serves them.

A scripted library stands in for the broker; that a real one behaves so is seen in its log only.
"""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from aiokafka import errors

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics

SERVES = 0
NOT_LEADER = errors.NotLeaderForPartitionError.errno
DENIED = errors.GroupAuthorizationFailedError.errno


class SlowBroker:
    """Each question is answered by the next word of its script, and by the last one for ever.

    Args:
        coordinator: error codes of the question who keeps a group.
        leaders: who leads the second partition; -1: nobody.
        ends: error codes of the leader about that partition.
    """

    def __init__(
        self, coordinator: Sequence[int], leaders: Sequence[int], ends: Sequence[int]
    ) -> None:
        self._scripts = {"coordinator": [*coordinator], "leaders": [*leaders], "ends": [*ends]}
        self.asked: list[str] = []

    def _next(self, what: str) -> int:
        script = self._scripts[what]
        self.asked.append(what)
        return script.pop(0) if len(script) > 1 else script[0]

    async def find_coordinator(self, group: str) -> int:
        assert group == "run.payment"
        if code := self._next("coordinator"):
            raise errors.for_code(code)
        return 1

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        assert names == ["run.orders"]
        second = {"partition": 1, "leader": self._next("leaders")}
        return [{"topic": "run.orders", "partitions": [{"partition": 0, "leader": 1}, second]}]

    async def _send_request(self, request: Any, leader: int) -> object:
        assert leader == 1
        assert request._topics == [("run.orders", [(0, -1), (1, -1)])]
        code = self._next("ends")
        return SimpleNamespace(topics=[("run.orders", [(0, SERVES, -1, 0), (1, code, -1, 0)])])


def settled(broker: SlowBroker) -> None:
    """Settle a topic and a group on it."""
    topics = KafkaTopics(KafkaSettings(bootstrap="127.0.0.1:9", prefix="run"))
    topics._admin = broker
    asyncio.run(topics.settle(["orders"], ["payment"]))


def test_a_broker_that_serves_is_asked_once() -> None:
    broker = SlowBroker([SERVES], [1], [SERVES])

    settled(broker)

    assert broker.asked == ["coordinator", "leaders", "ends"]


def test_one_that_does_not_yet_is_asked_until_it_keeps_the_group_and_leads_its_partitions() -> None:
    gone = errors.GroupCoordinatorNotAvailableError.errno
    broker = SlowBroker([gone, gone, SERVES], [-1, 1], [NOT_LEADER, SERVES])

    settled(broker)

    assert broker.asked == [
        *["coordinator"] * 3,
        "leaders",
        *["coordinator", "leaders", "ends"] * 2,
    ]


def test_one_that_refuses_is_left_to_those_who_join() -> None:
    broker = SlowBroker([DENIED], [1], [SERVES])

    settled(broker)

    assert broker.asked == ["coordinator"]
