"""A standing system as `docker-compose.yml` describes it, as processes of this machine.

Commands and health checks are taken from the file; only addresses and ports are this machine's. Not
here: the real servers (`real_servers`), which it stands on.
"""

import asyncio
import json
import os
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

from aiokafka.admin import AIOKafkaAdminClient
from ruamel.yaml import YAML

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.runtime.http_server import reserved_port
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.link import PostgresServer
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from tests.kit.real_servers import need
from tests.kit.scraped import Shown, samples_in

TOP = Path(__file__).resolve().parents[2]
INSIDE = "8000"
READY_S_MAX = 60
ORDER_S_MAX = 60
CALLS_MAX = 5
BUSY = 503
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
    # Compose reads two dollars as one.
    check = [word.replace("$$", "$") for word in one["healthcheck"]["test"][1:]]
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
        asked = [word.replace(f"/{INSIDE} ", f"/{port} ") for word in check]
        assert asked != check, "the check names the port that everybody has inside"
        yield Own(service=service, process=process, port=port, check=asked, log=log)
    finally:
        process.kill()
        process.wait()


def call(url: str, body: object = None, key: str = "the-only-order") -> dict[str, Any]:
    """The answer of the API, as JSON; while it is busy it is asked again, as any client does."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "idempotency-key": key}
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


@contextmanager
def running_system(name: str, folder: Path, **more: str) -> Iterator[Mapping[str, Own]]:
    """Every service of the file, healthy; removed in the end with all that it made.

    Args:
        name: of the system on the servers.
        folder: takes the logs.
        more: further variables.
    """
    with ExitStack() as stack:
        # Seven at once: none may be given what another one is about to take.
        ports = {service: stack.enter_context(reserved_port()) for service in own_services()}
        variables = {
            "LAB_NAME": name,
            "LAB_POSTGRES_DSN": need("postgres"),
            "LAB_REDIS_URL": need("redis"),
            "LAB_KAFKA_BOOTSTRAP": need("kafka"),
            "LAB_PROVIDERS_URL": f"http://127.0.0.1:{ports['providers']}",
            **more,
        }
        stack.callback(remove_all_of, name)
        running = {
            service: stack.enter_context(start(service, one, variables, ports[service], folder))
            for service, one in own_services().items()
        }
        for own in running.values():
            until(f"{own.service} is healthy", own.is_healthy, READY_S_MAX)
        yield running


def scrape(own: Own) -> Shown:
    """What a scraper reads of a process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{own.port}/metrics", timeout=10) as answer:
        return samples_in(answer.read().decode())
