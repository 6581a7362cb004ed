"""Records of other programs, sent to a worker of the real system: none of them may hold it up."""

import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.envelope import header, text_header
from lab.ports.bus import Record
from lab.runtime.http_server import reserved_port
from tests.kit.chain_parts import make_record
from tests.kit.real_servers import need
from tests.kit.standing_system import (
    INSIDE,
    READY_S_MAX,
    own_services,
    remove_all_of,
    start,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(120),
]

DLQ = "orders.notification.dlq"
STRUCTURED = [("content-type", b"application/cloudevents+json")]
NEW = b'{"specversion":"1.0","id":"n1","source":"/shop","type":"OrderShipped"}'
HUGE = bytes(3_000_000)

Headers = list[tuple[str, bytes]]


def of_an_event(event_id: bytes, event_type: bytes = b"OrderConfirmed") -> Headers:
    given = dict(make_record().headers) | {"ce_id": event_id, "ce_type": event_type}
    return list(given.items())


SENT: list[tuple[str, bytes, Headers]] = [
    ("a new type", b"{}", of_an_event(b"n0", b"OrderShipped")),
    ("a new type, structured", NEW, STRUCTURED),
    ("structured, no event", b"{", STRUCTURED),
    ("an endless id", b"{}", of_an_event(os.urandom(1_500).hex().encode())),
    ("an id that is no text", b"{}", of_an_event(b"\xff")),
    ("another one", b"{}", of_an_event(b"\xfe")),
    ("a value larger than the queue takes", HUGE, of_an_event(b"e1")),
    ("the last one of the key", b"{}", of_an_event(b"e2")),
]


async def send(kafka: KafkaSettings) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, compression_type="gzip", max_request_size=10_000_000
    )
    await producer.start()
    for _, value, headers in SENT:
        await producer.send_and_wait(kafka.topic("orders"), value, b"k", headers=headers)
    await producer.stop()


async def state(kafka: KafkaSettings) -> tuple[int, list[Record]]:
    """How many records the group has not committed, and its dead letters."""
    async with KafkaTopics(kafka) as topics:
        return await topics.lag("notification", ["orders"]), await topics.read(DLQ)


def test_foreign_records_are_passed_or_put_aside_each_under_its_own_name(tmp_path: Path) -> None:
    name = f"foreign_{os.getpid()}"
    kafka = KafkaSettings(bootstrap=need("kafka"), prefix=name.replace("_", "-"))
    variables = {
        "LAB_NAME": name,
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
    }
    worker = {
        "command": ["work", "notification", "--health-port", INSIDE],
        "healthcheck": own_services()["relay"]["healthcheck"],
    }
    with ExitStack() as stack:
        stack.callback(remove_all_of, name)
        port = stack.enter_context(reserved_port())
        own = stack.enter_context(start("notification", worker, variables, port, tmp_path))
        until("it is ready", own.is_healthy, READY_S_MAX)
        asyncio.run(send(kafka))

        until("all is settled", lambda: asyncio.run(state(kafka))[0] == 0, 30)
        _, letters = asyncio.run(state(kafka))

    origins = [text_header(letter.headers, "lab-dlq-origin") for letter in letters]
    offsets = [int(origin.rpartition("/")[2]) for origin in origins]
    assert sorted(offsets) == [2, 3, 4, 5, 6, 7]
    assert len({header(letter.headers, "lab-dlq-id") for letter in letters}) == len(letters)
    assert {text_header(letter.headers, "lab-dlq-reason") for letter in letters} == {"poison"}
    (cut,) = [letter for letter in letters if header(letter.headers, "lab-dlq-left-out")]
    assert (cut.value, header(cut.headers, "lab-dlq-value-bytes")) == (b"", b"3000000")
    assert all(letter.key == b"k" for letter in letters)
    lines = [json.loads(line) for line in own.log.read_text("utf-8").splitlines()]
    said = [line["event"]["action"] for line in lines if "event" in line]
    assert said.count("dead-letter") == len(letters)
