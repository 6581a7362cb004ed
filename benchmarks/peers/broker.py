"""The topics of the comparison: made under a prefix, filled, and removed with its groups."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers.workload import Load

_CALL_S: Final = 20
_FILL_S: Final = 60
_REMOVE_S: Final = 20


@contextmanager
def filled_topics(
    bootstrap: str, prefix: str, loads: Mapping[str, Load], *, partitions: int
) -> Iterator[None]:
    """The topics `prefix.NAME`, each with all records of its load; removed in the end.

    Keys are spread by murmur2, as every Kafka client in Java does.

    Raises:
        KafkaException: the broker does not answer, or takes a record not.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [f"{prefix}.{name}" for name in loads]
    made = admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    try:
        for future in made.values():
            future.result(_CALL_S)
        for name, load in loads.items():
            _fill(bootstrap, f"{prefix}.{name}", load)
        yield
    finally:
        remove(admin, prefix)


def _fill(bootstrap: str, topic: str, load: Load) -> None:
    refused: list[KafkaError] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2",
            "enable.idempotence": True,
            "linger.ms": 5,
            # A fetch is never smaller than what was published together.
            "batch.num.messages": 50,
        }
    )
    for key, value in load.values():
        producer.produce(topic, value, key, on_delivery=lambda error, _: _note(refused, error))
        producer.poll(0)
    if producer.flush(_FILL_S) or refused:
        raise KafkaException(*refused[:1])


def _note(refused: list[KafkaError], error: KafkaError | None) -> None:
    if error is not None:
        refused.append(error)


def remove(admin: Any, prefix: str) -> None:
    """Remove every topic and group whose name begins with the prefix.

    A group goes when its last member's session is over, so it is asked for again for a while.

    Raises:
        TimeoutError: something is still there.
    """
    until_s = time.monotonic() + _REMOVE_S
    while True:
        left = _topics(admin, prefix), _groups(admin, prefix)
        if not any(left):
            return
        if time.monotonic() > until_s:
            raise TimeoutError(f"still on the broker after {_REMOVE_S} s: {left}")
        topics, groups = left
        futures = {
            **(admin.delete_topics(topics) if topics else {}),
            **(admin.delete_consumer_groups(groups) if groups else {}),
        }
        for future in futures.values():
            # What is refused now stands in the list of the next look.
            future.exception(_CALL_S)
        time.sleep(0.5)


def _topics(admin: Any, prefix: str) -> list[str]:
    there = admin.list_topics(timeout=_CALL_S).topics
    return sorted(name for name in there if name.startswith(f"{prefix}."))


def _groups(admin: Any, prefix: str) -> list[str]:
    there = admin.list_consumer_groups(request_timeout=_CALL_S).result(_CALL_S).valid
    return sorted(one.group_id for one in there if one.group_id.startswith(f"{prefix}."))
