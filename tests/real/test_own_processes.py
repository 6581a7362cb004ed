"""What `docker-compose.yml` runs of the lab's own, run the same way without Docker.

Its commands and its health checks are taken from the file; only addresses and ports are this
machine's. So what is started in a container has been started here.
"""

import asyncio
import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as PlainBuilder

from lab.runtime.http_server import reserved_port
from tests.kit.real_servers import control, need, need_control
from tests.kit.scraped import total, value
from tests.kit.standing_system import (
    INSIDE,
    ORDER,
    ORDER_S_MAX,
    READY_S_MAX,
    Own,
    call,
    groups_of,
    own_services,
    remove_all_of,
    running_system,
    scrape,
    start,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]


def order_to_its_end(api: Own) -> None:
    """Post the order and wait until it is confirmed."""
    orders = f"http://127.0.0.1:{api.port}/orders"
    order = call(orders, ORDER)
    until(
        "the order is confirmed",
        lambda: call(f"{orders}/{order['order_id']}")["state"] == "CONFIRMED",
        ORDER_S_MAX,
    )


def test_the_processes_of_the_compose_file_bring_an_order_to_its_end_and_stop_when_told(
    tmp_path: Path,
) -> None:
    with running_system(f"compose_{os.getpid()}", tmp_path) as running:
        order_to_its_end(running["api"])

        for own in running.values():
            own.process.send_signal(signal.SIGTERM)
        ended = {service: own.process.wait(timeout=30) for service, own in running.items()}
        assert ended == dict.fromkeys(own_services(), 0)


def test_every_process_tells_in_its_metrics_what_became_of_an_order(tmp_path: Path) -> None:
    with running_system(f"metrics_{os.getpid()}", tmp_path) as running:
        order_to_its_end(running["api"])

        worker = running["work-payment"]
        lag = "lab_consumer_lag_records"
        until("payment is done", lambda: total(scrape(worker), lag) == 0, ORDER_S_MAX)
        outbox = "lab_outbox_events"
        until("nothing is owed", lambda: value(scrape(running["relay"]), outbox) == 0, ORDER_S_MAX)
        shown = {service: scrape(own) for service, own in running.items()}

    api, relay, payment = shown["api"], shown["relay"], shown["work-payment"]
    count = "lab_http_request_duration_seconds_count"
    assert value(api, count, route="/orders", status="201") == 1
    assert total(api, count, route="/orders/{id}", status="200")
    assert value(api, "lab_unit_commits_total", group="api", result="committed") == 1
    assert value(api, "lab_shed_requests_total", route="/orders") == 0
    assert value(api, outbox) == 0

    assert total(relay, "lab_published_records_total", result="ok") == 4
    assert value(relay, "lab_outbox_oldest_age_seconds") == 0
    assert value(relay, lag, group="relay", topic="orders") is None

    assert value(payment, "lab_attempts_total", group="payment", result="ok") == 1
    assert value(payment, "lab_attempt_duration_seconds_count", group="payment") == 1
    called = {"dependency": "payment_gateway", "action": "charge", "result": "captured"}
    assert value(payment, "lab_call_duration_seconds_count", **called) == 1
    state = {"dependency": "payment_gateway", "state": "closed"}
    assert value(payment, "lab_breaker_state", **state) == 1
    assert value(payment, "lab_claims_total", group="payment", state="acquired") == 1
    assert value(payment, "lab_records_in_flight", group="payment") == 0
    assert total(payment, "lab_partitions_owned")
    assert total(payment, "lab_offset_commits_total", topic="validation")
    assert total(payment, "lab_dead_letters_total") == 0
    assert value(payment, lag, group="payment", topic="validation") == 0
    assert value(payment, outbox) is None

    moved = {"provider": "payment_gateway", "action": "capture"}
    assert value(shown["providers"], "lab_ledger_entries_total", **moved) == 1
    assert value(shown["providers"], count, route="/payment_gateway/charge", status="200") == 1
    assert all(total(one, "lab_build_info") == 1 for one in shown.values())


def goes_unknown_and_comes_back(own: Own, metric: str, server: str) -> None:
    """Scrape over an outage of the server that knows the metric."""
    until("it is ready", own.is_healthy, READY_S_MAX)
    until("it is known", lambda: total(scrape(own), metric) == 0, READY_S_MAX)
    control("stop", server)
    until("nobody knows it", lambda: total(scrape(own), metric) is None, READY_S_MAX)
    until("it is not ready", lambda: not own.is_healthy(), READY_S_MAX)
    assert total(scrape(own), "lab_build_info") == 1
    control("start", server)
    until("it is known again", lambda: total(scrape(own), metric) == 0, READY_S_MAX)
    until("it is ready again", own.is_healthy, READY_S_MAX)


@pytest.mark.alone
def test_while_a_server_is_away_its_values_are_absent_and_the_process_is_not_ready(
    tmp_path: Path,
) -> None:
    for server in ("kafka", "postgres"):
        need_control(server)
    name = f"absent_{os.getpid()}"
    check = own_services()["relay"]["healthcheck"]
    commands = {"notification": ["work", "notification"], "relay": ["relay"]}
    asked = {
        "kafka": ("notification", "lab_consumer_lag_records"),
        "postgres": ("relay", "lab_outbox_events"),
    }
    variables = {
        "LAB_NAME": name,
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
    }
    with ExitStack() as stack:
        stack.callback(remove_all_of, name)
        running = {}
        for service, command in commands.items():
            one = {"command": [*command, "--health-port", INSIDE], "healthcheck": check}
            port = stack.enter_context(reserved_port())
            running[service] = stack.enter_context(start(service, one, variables, port, tmp_path))
        for server, (service, metric) in asked.items():
            stack.callback(control, "start", server)
            goes_unknown_and_comes_back(running[service], metric, server)


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
        "healthcheck": own_services()["relay"]["healthcheck"],
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
    lines = [record for record in map(json.loads, told) if "event" in record]
    (line,) = [each["message"] for each in lines if each["event"]["action"] == "end"]
    assert f"offset {offset} of topic {topic}, partition 0" in line
    assert f"--reset-offsets --to-offset {offset + 1}" in line
