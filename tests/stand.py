"""A standing system under load, with trouble once a minute: every order it accepted must end.

    scripts/with-servers python -m tests.stand --minutes 10 --rate 20

The processes of `docker-compose.yml` run beside real servers of `scripts/servers`. Once in
`--every` seconds one trouble comes, each kind in turn, in an order drawn from `--seed`: stalled
sockets, a SIGKILL of some process, a Kafka that hangs, a PostgreSQL that is restarted, a Redis that
is flushed, a foreign record, a foreign member of a group.

Afterwards: every accepted order has ended, nearly all of them CONFIRMED; each of those was charged
once and nobody twice; no process ended by itself; every process is ready, nothing is unread, owed
or dead but the foreign records; memory is flat, and the log fits on ten pages. Prints what it
found; exit code 1 if anything of that is not so. Not collected by pytest: it takes minutes.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from lab.cli.one_process import system
from lab.domain.events import READS
from lab.domain.order import TERMINAL
from lab.history.facts import LedgerEntry
from lab.patterns.redrive import Wanted
from lab.providers.ledger_file import ledger_entries
from lab.runtime.chance import KeyedChance
from lab.runtime.http_server import reserved_port
from lab.stores.redis import dedupe as redis
from lab.stores.redis.dedupe import RedisServer
from lab.wiring import dead_letters
from tests.kit.entries import of_type
from tests.kit.real_servers import control, need, need_control
from tests.kit.scraped import total
from tests.kit.standing_system import (
    READY_S_MAX,
    Own,
    own_services,
    remove_all_of,
    scrape,
    start,
    until,
)

T = TypeVar("T")

NAME: Final = f"stand_{os.getpid()}"
STALLED: Final = 60
TROUBLE_S: Final = 15
END_S_MAX: Final = 240
CONFIRMED_LEAST: Final = 0.95
LOG_LINES_MAX: Final = 600
GROWTH_MAX: Final = 1.25
GROWTH_SPARE_KB: Final = 20_000
_ATTEMPTS: Final = 120
_ORDER: Final[Mapping[str, Any]] = {
    "currency": "EUR",
    "items": [{"sku": "mug", "quantity": 2, "unit_price_cents": 450}],
}


@dataclass(kw_only=True)
class Stand:
    """The system, and what was seen of it so far.

    Attributes:
        own: every process, by its service.
        lives: how often each was started.
        logs: of all lives.
        accepted: ids of orders that were answered with 201.
        memory_kb: samples by service, of lives that were never killed.
        refused: answers other than 201, by status; 0: none came.
        ended: which processes ended by themselves, in sentences.
    """

    stack: ExitStack
    folder: Path
    variables: Mapping[str, str]
    ports: Mapping[str, int]
    chance: KeyedChance
    own: dict[str, Own] = field(default_factory=dict)
    lives: Counter[str] = field(default_factory=Counter)
    logs: list[Path] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    memory_kb: dict[str, list[int]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)

    @property
    def api(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.ports['api']}"

    def begin(self, service: str) -> None:
        """Start a life of a process."""
        self.lives[service] += 1
        place = self.folder / f"life-{self.lives[service]}"
        place.mkdir(exist_ok=True)
        one = start(service, own_services()[service], self.variables, self.ports[service], place)
        self.own[service] = self.stack.enter_context(one)
        self.logs.append(self.own[service].log)

    def begin_all(self) -> None:
        """Start every process, and wait until all are healthy."""
        for service in own_services():
            self.begin(service)
        for own in self.own.values():
            until(f"{own.service} is healthy", own.is_healthy, READY_S_MAX)

    def note_ended(self) -> None:
        """Note each process that has ended by itself."""
        gone = [one.service for one in self.own.values() if one.process.poll() is not None]
        self.ended += [f"{service} has ended by itself" for service in gone]

    def draw(self, *what: object) -> float:
        """A number from 0 to 1 that depends on the seed and on what it is for."""
        return self.chance.u("stand", *map(str, what))

    def choose(self, names: Sequence[str], *what: object) -> str:
        """One of them."""
        return names[int(self.draw(*what) * len(names))]

    def sample(self) -> None:
        """Note how much memory each process holds."""
        for service, own in self.own.items():
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{own.process.pid}/status").read_text("utf-8")
                line = next(one for one in status.splitlines() if one.startswith("VmRSS"))
                self.memory_kb.setdefault(f"{service}.{self.lives[service]}", []).append(
                    int(line.split()[1])
                )


# ---- the load


async def post(stand: Stand, client: httpx.AsyncClient, number: int) -> None:
    """Post an order until it is answered, as any client does: under one key."""
    body = {**_ORDER, "customer_id": f"C{number % 50}"}
    headers = {"idempotency-key": f"{NAME}-{number}"}
    for _ in range(_ATTEMPTS):
        try:
            answer = await client.post(f"{stand.api}/orders", json=body, headers=headers)
        except httpx.HTTPError:
            stand.refused[0] += 1
        else:
            if answer.status_code == 201:
                stand.accepted.append(answer.json()["order_id"])
                return
            stand.refused[answer.status_code] += 1
        await asyncio.sleep(1)
    raise AssertionError(f"order {number} was refused {_ATTEMPTS} times")


async def load(stand: Stand, client: httpx.AsyncClient, *, rate: float, seconds: float) -> int:
    """Post so many orders a second; how many were posted."""
    posts: list[asyncio.Task[None]] = []
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        posts.append(asyncio.create_task(post(stand, client, number)))
        number += 1
        if number % max(int(rate * 10), 1) == 0:
            stand.sample()
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    await asyncio.gather(*posts)
    return number


# ---- the troubles


async def stalled_sockets(stand: Stand) -> str:
    """Clients that send a byte of a body and no more."""
    head = b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    sockets = []
    for _ in range(STALLED):
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", stand.ports["api"]), timeout=5)
            one.sendall(head + b"content-length: 1000\r\n\r\n{")
            sockets.append(one)
    await asyncio.sleep(TROUBLE_S)
    for one in sockets:
        one.close()
    return f"{len(sockets)} sockets"


async def killed(stand: Stand) -> str:
    """Some process is killed, and started again by whoever looks after it."""
    service = stand.choose(sorted(stand.own), "kill", sum(stand.lives.values()))
    stand.note_ended()
    stand.own[service].process.send_signal(signal.SIGKILL)
    stand.own[service].process.wait()
    await asyncio.sleep(2)
    stand.begin(service)
    return service


async def kafka_hangs(_: Stand) -> str:
    """The broker is stopped in its tracks, and goes on."""
    await aside(partial(control, "pause", "kafka"))
    try:
        await asyncio.sleep(TROUBLE_S)
    finally:
        await aside(partial(control, "resume", "kafka"))
    return f"{TROUBLE_S} s"


async def postgres_restarts(_: Stand) -> str:
    """The database goes away with all its connections, and comes back."""
    try:
        await aside(partial(control, "stop", "postgres"))
    finally:
        await aside(partial(control, "start", "postgres"))
    return ""


async def redis_flushed(_: Stand) -> str:
    """Every claim of the system is forgotten."""
    forgotten = await redis.forget(RedisServer(url=need("redis"), prefix=NAME))
    return f"{forgotten} keys"


async def foreign_record(_: Stand) -> str:
    """Somebody writes what they like into a topic of ours."""
    producer = AIOKafkaProducer(bootstrap_servers=need("kafka"))
    await producer.start()
    value = os.urandom(200)
    headers = [("ce_type", b"OrderCreated"), ("ce_id", os.urandom(8))]
    await producer.send_and_wait(
        f"{NAME.replace('_', '-')}.orders", value, key=b"foreign", headers=headers
    )
    await producer.stop()
    return ""


async def foreign_member(stand: Stand) -> str:
    """Another program joins a group of ours, by mistake, and leaves it again."""
    prefix = NAME.replace("_", "-")
    group = stand.choose(sorted(READS), "member", time.monotonic())
    consumer = AIOKafkaConsumer(
        f"{prefix}.orders",
        bootstrap_servers=need("kafka"),
        group_id=f"{prefix}.{group}",
        enable_auto_commit=False,
    )
    joining = asyncio.ensure_future(consumer.start())
    await asyncio.wait([joining], timeout=TROUBLE_S)
    if not joining.done():
        joining.cancel()
        await asyncio.wait([joining])
    # A group of ours that has members takes none that balances otherwise.
    is_in = not joining.cancelled() and joining.exception() is None
    if is_in:
        await asyncio.sleep(TROUBLE_S)
    await consumer.stop()
    return f"{group}, {'in it' if is_in else 'refused'}"


Trouble = Callable[[Stand], Awaitable[str]]
TROUBLES: Final[Sequence[Trouble]] = (
    stalled_sockets,
    killed,
    kafka_hangs,
    postgres_restarts,
    redis_flushed,
    foreign_record,
    foreign_member,
)


async def trouble(stand: Stand, *, every: float, seconds: float) -> Counter[str]:
    """One trouble after the other, until the load ends; how often each came."""
    came: Counter[str] = Counter()
    began = time.monotonic()
    bag: list[Trouble] = []
    while (at_s := time.monotonic() - began) + every < seconds:
        await asyncio.sleep(every)
        number = came.total()
        bag = bag or sorted(TROUBLES, key=lambda one: stand.draw(number, one.__name__))
        one = bag.pop()
        said = await one(stand)
        came[one.__name__] += 1
        say(f"{at_s + every:6.0f} s  {one.__name__.replace('_', ' ')}  {said}")
    return came


# ---- the verdict


async def ends(stand: Stand, client: httpx.AsyncClient) -> Counter[str]:
    """How many accepted orders are in each state, after a bounded wait for all to end."""
    open_ids = set(stand.accepted)
    end = time.monotonic() + END_S_MAX
    states: dict[str, str] = {}
    while open_ids and time.monotonic() < end:
        for order_id in sorted(open_ids):
            with contextlib.suppress(httpx.HTTPError, KeyError):
                answer = await client.get(f"{stand.api}/orders/{order_id}")
                states[order_id] = answer.json()["state"]
        open_ids = {one for one in open_ids if states.get(one, "?") not in TERMINAL}
        await asyncio.sleep(1 if open_ids else 0)
    for order_id in sorted(open_ids)[:10]:
        say(f"not ended: {order_id} {states.get(order_id, '?')}")
    return Counter(states.get(order_id, "?") for order_id in stand.accepted)


def captures(stand: Stand) -> Counter[str]:
    """How many captures are held of each order that was ever charged, by the third party's book."""
    held: Counter[str] = Counter()
    for file in stand.folder.glob("life-*/lab-ledger.ndjson"):
        for entry in of_type(ledger_entries(file), LedgerEntry):
            if entry.action in ("capture", "refund"):
                charge = entry.key if entry.action == "capture" else entry.charge_key
                held[charge.rpartition(":")[0]] += 1 if entry.action == "capture" else -1
    return held


def wrong_money(stand: Stand, confirmed: int) -> list[str]:
    """What is wrong with the money, in sentences."""
    held = captures(stand)
    bad = [f"{charge} is held {count} times" for charge, count in held.items() if count > 1]
    if sum(held.values()) < confirmed:
        bad.append(f"{confirmed} orders are confirmed, and {sum(held.values())} charges are held")
    return bad


def dead() -> int:
    """How many dead letters stand in the queues, by group and event."""
    letters = dead_letters.letters(system(NAME, None), Wanted())
    for one in letters[:10]:
        say(f"dead: {one.event_type} of {one.record.key!r} in {one.group}, {one.reason}")
    return len(letters)


def has_read(own: Own) -> bool:
    """Whether its group has committed everything."""
    return total(scrape(own), "lab_consumer_lag_records") == 0


def owes_nothing(own: Own) -> bool:
    """Whether every event in the outbox is published."""
    return total(scrape(own), "lab_outbox_events") == 0


async def aside(work: Callable[[], T]) -> T:
    """Work that waits, beside the load."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def unread(stand: Stand) -> list[str]:
    """What is not ready, or has something unread, after a bounded wait."""
    left: list[str] = []
    for service, own in stand.own.items():
        try:
            until(f"{service} is healthy", own.is_healthy, READY_S_MAX)
            if service == "relay":
                until("nothing is owed to the bus", partial(owes_nothing, own), READY_S_MAX)
            if service.startswith("work-"):
                until(f"{service} has read everything", partial(has_read, own), READY_S_MAX)
        except (AssertionError, OSError) as why:
            left.append(str(why).splitlines()[0])
    return left


def grown(stand: Stand) -> list[str]:
    """Lives whose memory went on growing in the last third of a long time."""
    found = []
    for life, samples in stand.memory_kb.items():
        third = len(samples) // 3
        if third < 3:
            continue
        before, after = max(samples[third : 2 * third]), max(samples[2 * third :])
        if after > before * GROWTH_MAX + GROWTH_SPARE_KB:
            found.append(f"{life}: {before} kB, then {after} kB")
    return found


async def stand_up(stand: Stand, arguments: argparse.Namespace) -> list[str]:
    """The whole of it; sentences about what is not as it must be."""
    seconds = arguments.minutes * 60
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(timeout=10, limits=limits) as client:
        troubles = asyncio.create_task(trouble(stand, every=arguments.every, seconds=seconds))
        posted = await load(stand, client, rate=arguments.rate, seconds=seconds)
        came = await troubles
        states = await ends(stand, client)
    stand.note_ended()
    bad = list(stand.ended)
    bad += [f"{count} orders are {one}" for one, count in states.items() if one not in TERMINAL]
    confirmed = states["CONFIRMED"]
    if confirmed < CONFIRMED_LEAST * len(stand.accepted):
        bad.append(f"{confirmed} of {len(stand.accepted)} orders are confirmed")
    bad += wrong_money(stand, confirmed)
    bad += await aside(partial(unread, stand))
    # Each group that reads the topic puts a foreign record aside for itself.
    if (letters := await aside(dead)) > came["foreign_record"] * len(READS):
        bad.append(f"{letters} dead letters, and {came['foreign_record']} foreign records")
    if not came:
        bad.append("no trouble came: this proves nothing")
    bad += grown(stand)
    lines = sum(len(log.read_bytes().splitlines()) for log in stand.logs)
    if lines > LOG_LINES_MAX:
        bad.append(f"the log has {lines} lines, more than {LOG_LINES_MAX}")
    if posted != len(stand.accepted):
        bad.append(f"{posted} orders were posted, {len(stand.accepted)} accepted")
    last = {life: samples[-1] // 1_000 for life, samples in stand.memory_kb.items()}
    say(f"{posted} orders, {len(stand.accepted)} accepted; before that: {dict(stand.refused)}")
    say(f"states: {dict(states)}; dead letters: {letters}")
    say(f"troubles: {dict(came)}; lives: {dict(stand.lives)}")
    say(f"log lines: {lines}; memory in MB: {last}")
    return bad


def say(text: str) -> None:
    """On standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--every", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="a folder that keeps the logs")
    arguments = parser.parse_args()
    for server in ("kafka", "postgres", "redis"):
        need_control(server)
    with ExitStack() as stack:
        folder = arguments.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        ports = {service: stack.enter_context(reserved_port()) for service in own_services()}
        variables = {
            "LAB_NAME": NAME,
            "LAB_POSTGRES_DSN": need("postgres"),
            "LAB_REDIS_URL": need("redis"),
            "LAB_KAFKA_BOOTSTRAP": need("kafka"),
            "LAB_PROVIDERS_URL": f"http://127.0.0.1:{ports['providers']}",
        }
        stack.callback(remove_all_of, NAME)
        stand = Stand(
            stack=stack,
            folder=folder,
            variables=variables,
            ports=ports,
            chance=KeyedChance(arguments.seed),
        )
        stand.begin_all()
        bad = asyncio.run(stand_up(stand, arguments))
    say("\n".join(bad) if bad else "every accepted order has ended, and nothing is stuck")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
