"""Three real brokers of which some die under load: nothing that was accepted is lost or done twice.

Not here: one broker that stands still (`test_real_runs.py`), elections in memory
(`unit/bus/test_memory_cluster.py`).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from lab import run
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, Indeterminate, Transient
from lab.ports.bus import Outgoing, Publisher
from lab.report.result import Result
from lab.runtime.clock import SystemClock
from tests.kit.real_servers import control, other_brokers

pytestmark = [
    *(pytest.mark.real, pytest.mark.alone, pytest.mark.slow),
    pytest.mark.timeout(900),
]

BROKERS = ("kafka-1", "kafka-2", "kafka-3")
PUBLISH_S = 3
TRIES_MAX = 60
KILLS = 20
KNOWN_S_MAX = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[Mapping[str, str]]:
    with other_brokers("--brokers", "3") as variables:
        yield variables


@pytest.fixture
def used(cluster: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test use the three brokers."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)


def kills(count: int) -> tuple[str, ...]:
    """One broker after the other dies, each the leader of a third of all partitions, or of more."""
    return tuple(
        f"bus.leader_move@broker-{number % 3 + 1} at={2 + 8 * number}s for=3s"
        for number in range(count)
    )


def assert_nothing_is_lost_or_done_twice(result: Result, *, moves: int) -> None:
    told = {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}
    assert (result.verdict, result.why) == ("PASS", ""), told
    assert sum(fault.fired for fault in result.faults if fault.name == "bus.leader_move") == moves
    broken = {check.name: check.violations for check in result.checks}
    assert broken["no-lost-event"] == broken["no-double-charge"] == broken["effect-once"] == 0


@pytest.mark.usefixtures("used")
def test_three_leaders_die_and_one_steps_down_under_load() -> None:
    stopped = "bus.leader_move@broker-1 at=26s for=3s how=stopped"

    result = run("happy-path", real=True, orders=60, rate=2, faults=[*kills(3), stopped])

    assert result.orders.accepted == 60
    assert_nothing_is_lost_or_done_twice(result, moves=4)


@pytest.mark.soak
@pytest.mark.usefixtures("used")
def test_twenty_leaders_die_under_load() -> None:
    result = run("happy-path", real=True, orders=330, rate=2, faults=kills(KILLS))

    assert result.orders.accepted == 330
    assert_nothing_is_lost_or_done_twice(result, moves=KILLS)


@pytest.mark.soak
@pytest.mark.usefixtures("used")
def test_the_scenario_passes_on_real_brokers() -> None:
    result = run("broker-failover", real=True)

    assert result.orders.accepted == 300
    assert_nothing_is_lost_or_done_twice(result, moves=8)


async def publish(publisher: Publisher, number: int) -> str:
    """What becomes of one record, as its publisher hears it."""
    record = Outgoing("orders", b"key-%d" % (number % 30), b"%d" % number, ())
    try:
        await publisher.publish([record])
    except (Transient, Indeterminate) as error:
        return type(error).__name__
    return "appended"


async def publish_until_ten_in_a_row(publisher: Publisher, told: dict[int, str]) -> None:
    """Publish one record after the other until ten in a row were appended."""
    first, row = len(told), 0
    for number in range(first, first + TRIES_MAX):
        told[number] = await publish(publisher, number)
        row = row + 1 if told[number] == "appended" else 0
        if row == 10:
            return
    raise AssertionError(f"it never recovered: {list(told.values())[first:]}")


def test_with_two_of_three_gone_nothing_counts_as_appended_and_nothing_that_did_is_lost(
    cluster: Mapping[str, str],
) -> None:
    kafka = KafkaSettings(
        bootstrap=cluster["LAB_KAFKA_BOOTSTRAP"],
        prefix=f"case-{SystemClock().wall_us()}",
        publish_us=PUBLISH_S * 1_000_000,
        connect_us=30_000_000,
    )
    told: dict[int, str] = {}
    missed: list[str] = []

    async def main() -> Counter[bytes]:
        outside = asyncio.get_running_loop().run_in_executor
        async with KafkaTopics(kafka) as topics:
            try:
                await topics.create({"orders": 6})
                bus = KafkaBus(kafka, "case")
                publisher = bus.publisher()
                await publish_until_ten_in_a_row(publisher, told)
                await outside(None, control, "kill", *BROKERS[:2])
                first = len(told)
                for number in range(first, first + 3):
                    told[number] = await publish(publisher, number)
                    missed.append(told[number])
                await outside(None, control, "start", *BROKERS[:2])
                await publish_until_ten_in_a_row(publisher, told)
                await bus.close()
                return Counter(record.value for record in await topics.read("orders"))
            finally:
                await topics.delete()

    try:
        found = asyncio.run(main())
    finally:
        control("start", *BROKERS)

    assert set(missed) <= {"Indeterminate", "Transient"}
    assert len(missed) == 3
    lost = [
        number for number, how in told.items() if how == "appended" and not found[b"%d" % number]
    ]
    assert not lost
    # Nobody repeated a call, and the client's own repetitions leave no second record.
    assert max(found.values()) == 1


async def described_by_a_broker(admin: AIOKafkaAdminClient, name: str) -> Any:
    """The topic as a broker describes it; one hears of it from the others a moment later."""
    end = time.monotonic() + KNOWN_S_MAX
    while time.monotonic() < end:
        (described,) = await admin.describe_topics([name])
        if described["partitions"]:
            return described
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} is not known after {KNOWN_S_MAX} s")


def test_topics_have_a_copy_on_each_broker_and_need_two(cluster: Mapping[str, str]) -> None:
    kafka = KafkaSettings(
        bootstrap=cluster["LAB_KAFKA_BOOTSTRAP"],
        prefix=f"case-{SystemClock().wall_us()}",
        connect_us=30_000_000,
    )

    async def main() -> tuple[int, str]:
        async with KafkaTopics(kafka) as topics:
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
            try:
                await topics.create({"orders": 1})
                await admin.start()
                name = kafka.topic("orders")
                described = await described_by_a_broker(admin, name)
                asked = ConfigResource(ConfigResourceType.TOPIC, name)
                (answer,) = await admin.describe_configs([asked])
                configs = {name: value for *_, rows in answer.resources for name, value, *_ in rows}
                return len(described["partitions"][0]["replicas"]), configs["min.insync.replicas"]
            finally:
                await admin.close()
                await topics.delete()

    assert asyncio.run(main()) == (3, "2")


def test_more_copies_than_brokers_are_refused_with_their_number(
    cluster: Mapping[str, str],
) -> None:
    kafka = KafkaSettings(
        bootstrap=cluster["LAB_KAFKA_BOOTSTRAP"],
        prefix="case",
        replication=4,
        connect_us=30_000_000,
    )

    async def main() -> None:
        async with KafkaTopics(kafka) as topics:
            await topics.create({"orders": 1})

    with pytest.raises(EnvironmentNotReady, match=r"bus.replication = 4 .* \(3\)"):
        asyncio.run(main())
