"""What `docker-compose.yml` runs of the lab's own, run the same way without Docker.

Its commands and its health checks are taken from the file; only addresses and ports are this
machine's. So what is started in a container has been started here.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as PlainBuilder
from ruamel.yaml import YAML

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.runtime.http_server import reserved_port
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from tests.kit.real_servers import need

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

TOP = Path(__file__).resolve().parents[2]
INSIDE = "8000"
READY_S_MAX = 60
ORDER_S_MAX = 60
CALLS_MAX = 5
BUSY = 503
_ASK_READY = (
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=5)"
)
ORDER = {
    "customer_id": "C1",
    "currency": "EUR",
    "items": [{"sku": "mug", "quantity": 2, "unit_price_cents": 450}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """One of the lab's own processes, and how the file asks whether it is healthy."""

    service: str
    process: "subprocess.Popen[bytes]"
    port: int
    check: list[str]
    log: Path

    def is_healthy(self) -> bool:
        """What the health check of the file says."""
        assert self.process.poll() is None, f"{self.service}: {self.log.read_text('utf-8')}"
        asked = subprocess.run(self.check, capture_output=True, check=False, timeout=20)
        return asked.returncode == 0


def until(what: str, is_so: Callable[[], bool], limit_s: float) -> None:
    """Look until it is so, with a bound."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {limit_s} s"
        time.sleep(0.1)


def own_services() -> Mapping[str, Any]:
    """The services of the profile `app`, in the order of the file."""
    read = YAML(typ="safe", pure=True).load((TOP / "docker-compose.yml").read_text("utf-8"))
    return {name: one for name, one in read["services"].items() if "app" in one.get("profiles", ())}


def remove_all_of(name: str) -> None:
    """Remove the topics, schema and keys of the system with that name."""

    async def remove() -> None:
        kafka = KafkaSettings(bootstrap=need("kafka"), prefix=name.replace("_", "-"))
        async with KafkaTopics(kafka) as topics:
            await topics.delete()
        await postgres_schema.drop(PostgresServer(dsn=need("postgres"), schema=name))
        await redis.forget(RedisServer(url=need("redis"), prefix=name))

    asyncio.run(remove())


async def groups_of(name: str) -> list[str]:
    """The consumer groups of the system with that name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=need("kafka"))
    await admin.start()
    groups = [group for group, *_ in await admin.list_consumer_groups()]
    await admin.close()
    return [group for group in groups if group.startswith(name.replace("_", "-"))]


@contextmanager
def start(
    service: str, one: Mapping[str, Any], variables: Mapping[str, str], port: int, folder: Path
) -> Iterator[Own]:
    """The service of the file as a process of this machine, killed in the end if it still runs."""
    here = {"0.0.0.0": "127.0.0.1", INSIDE: str(port)}
    command = [here.get(word, word) for word in one["command"]]
    runs_python, *check = one["healthcheck"]["test"][1:]
    assert runs_python == "python"
    log = folder / f"{service}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(TOP), **variables},  # noqa: TID251 - a shell's part
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        asked = [sys.executable, *(word.replace(f":{INSIDE}/", f":{port}/") for word in check)]
        yield Own(service=service, process=process, port=port, check=asked, log=log)
    finally:
        process.kill()
        process.wait()


def call(url: str, body: object = None) -> dict[str, Any]:
    """The answer of the API, as JSON; while it is busy it is asked again, as any client does."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "idempotency-key": "the-only-order"}
    request = urllib.request.Request(url, data, headers)
    refused: Exception | None = None
    for _ in range(CALLS_MAX):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                told = json.load(answer)
        except (urllib.error.URLError, TimeoutError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code != BUSY:
                raise
            refused = error
            time.sleep(0.5)
        else:
            assert isinstance(told, dict)
            return told
    raise AssertionError(f"{url}: no answer to {CALLS_MAX} calls") from refused


def test_the_processes_of_the_compose_file_bring_an_order_to_its_end_and_stop_when_told(
    tmp_path: Path,
) -> None:
    name = f"compose_{os.getpid()}"
    with ExitStack() as stack:
        # Seven at once: none may be given what another one is about to take.
        ports = {service: stack.enter_context(reserved_port()) for service in own_services()}
        variables = {
            "LAB_NAME": name,
            "LAB_POSTGRES_DSN": need("postgres"),
            "LAB_REDIS_URL": need("redis"),
            "LAB_KAFKA_BOOTSTRAP": need("kafka"),
            "LAB_PROVIDERS_URL": f"http://127.0.0.1:{ports['providers']}",
        }
        api = f"http://127.0.0.1:{ports['api']}/orders"
        stack.callback(remove_all_of, name)
        running = [
            stack.enter_context(start(service, one, variables, ports[service], tmp_path))
            for service, one in own_services().items()
        ]
        for own in running:
            until(f"{own.service} is healthy", own.is_healthy, READY_S_MAX)

        order = call(api, ORDER)
        until(
            "the order is confirmed",
            lambda: call(f"{api}/{order['order_id']}")["state"] == "CONFIRMED",
            ORDER_S_MAX,
        )

        for own in running:
            own.process.send_signal(signal.SIGTERM)
        ended = {own.service: own.process.wait(timeout=30) for own in running}
        assert ended == dict.fromkeys(own_services(), 0)


class _NoText(str):
    """The name of a header as another program may write it."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        return b"\xff\xfe"


async def _send_unreadable(topic: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Append a record that the client library cannot hand out; its offset in partition 0."""
    monkeypatch.setattr(message_accumulator, "DefaultRecordBatchBuilder", PlainBuilder)
    producer = AIOKafkaProducer(bootstrap_servers=need("kafka"))
    await producer.start()
    try:
        batch = producer.create_batch()
        headers = [(_NoText("name"), b"value")]
        batch.append(timestamp=int(time.time() * 1_000), key=b"k", value=b"v", headers=headers)
        sent = await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()
    assert isinstance(sent.offset, int)
    return sent.offset


def test_a_process_that_can_consume_no_more_ends_and_names_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"unreadable_{os.getpid()}"
    variables = {
        "LAB_NAME": name,
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
    }
    worker = {
        "command": ["work", "notification", "--health-port", INSIDE],
        "healthcheck": {"test": ["CMD", "python", "-c", _ASK_READY]},
    }
    with ExitStack() as stack:
        stack.callback(remove_all_of, name)
        port = stack.enter_context(reserved_port())
        own = stack.enter_context(start("notification", worker, variables, port, tmp_path))
        until("it is ready", own.is_healthy, READY_S_MAX)
        topic = f"{name.replace('_', '-')}.orders"
        offset = asyncio.run(_send_unreadable(topic, monkeypatch))

        assert own.process.wait(timeout=30) == 4
    assert asyncio.run(groups_of(name)) == []
    told = own.log.read_text("utf-8").splitlines()
    (line,) = [line for line in told if line.startswith("lab: ")]
    assert f"offset {offset} of topic {topic}, partition 0" in line
    assert f"--reset-offsets --to-offset {offset + 1}" in line
