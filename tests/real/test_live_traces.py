"""Traces of the standing system: written by each process while it works, whole in the end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from lab.cli import app
from lab.domain.events import TOPIC_OF
from lab.observe.fields import service_name
from lab.observe.ship import Shipped, ship
from lab.runtime.clock import SystemClock
from lab.runtime.http_caller import http_caller
from tests.kit.real_servers import need
from tests.kit.search_server import SearchServer
from tests.kit.standing_system import (
    ORDER,
    ORDER_S_MAX,
    Own,
    own_services,
    running_system,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(240),
]

TOP = Path(__file__).resolve().parents[2]
ORDERS = 50
CLIENTS_TRACE, CLIENTS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENTS_CONTEXT = {
    "traceparent": f"00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-00",
    "tracestate": "vendor=of-the-client",
}
SERVICES = {"api", "relay", "validation", "payment", "orders", "notification"}
THIRD_PARTIES = {"warehouse", "antifraud", "payment_gateway", "mailer"}
EVENTS = ("OrderCreated", "OrderValidated", "PaymentCaptured", "OrderConfirmed")
STREAM = "traces-apm-default"
Document = dict[str, Any]


def post(api: Own, number: int, context: Mapping[str, str] | None = None) -> str:
    """The id of a new order, which goes on in the trace of its client if that has one."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{api.port}/orders",
        json.dumps(ORDER).encode(),
        {
            "content-type": "application/json",
            "idempotency-key": f"order-{number}",
            **(context or {}),
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        order_id = json.load(answer)["order_id"]
    assert isinstance(order_id, str)
    return order_id


def state(api: Own, order_id: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{api.port}/orders/{order_id}", timeout=10) as it:
        found = json.load(it)["state"]
    assert isinstance(found, str)
    return found


def spans_in(folder: Path) -> list[Document]:
    """Every span that the processes have written."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.spans.*.ndjson"))
        for line in path.read_text("utf-8").splitlines()
    ]


def orphans(spans: list[Document]) -> list[str]:
    """Names of the spans whose parent is not there."""
    known = {(one["trace"]["id"], one["span"]["id"]) for one in spans if "span" in one}
    return [
        str(one.get("transaction", {}).get("name") or one["span"].get("name"))
        for one in spans
        if "parent" in one and (one["trace"]["id"], one["parent"]["id"]) not in known
    ]


def restart_of(own: Own, variables: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """The same command once more, as whoever looks after containers would start it."""
    command = own.process.args
    assert isinstance(command, list)
    with log.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, *command[1:]],
            cwd=log.parent,
            env={**os.environ, "PYTHONPATH": str(TOP), **variables},  # noqa: TID251 - a shell's part
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def test_each_order_is_one_whole_trace_over_every_process_although_a_worker_was_killed(
    tmp_path: Path,
) -> None:
    telemetry = tmp_path / "telemetry"
    telemetry.mkdir()
    name = f"traces_{os.getpid()}"
    with running_system(name, tmp_path, LAB_TELEMETRY=str(telemetry)) as running:
        api, worker = running["api"], running["work-payment"]
        placed = [post(api, number) for number in range(ORDERS // 2)]
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait(timeout=10)
        placed += [post(api, number) for number in range(ORDERS // 2, ORDERS)]
        variables = {
            "LAB_NAME": name,
            "LAB_POSTGRES_DSN": need("postgres"),
            "LAB_REDIS_URL": need("redis"),
            "LAB_KAFKA_BOOTSTRAP": need("kafka"),
            "LAB_PROVIDERS_URL": f"http://127.0.0.1:{running['providers'].port}",
            "LAB_TELEMETRY": str(telemetry),
        }
        theirs = [post(api, ORDERS + number, CLIENTS_CONTEXT) for number in range(2)]
        again = restart_of(worker, variables, tmp_path / "again.log")
        try:
            until(
                "every order is confirmed",
                lambda: all(state(api, one) == "CONFIRMED" for one in (*placed, *theirs)),
                2 * ORDER_S_MAX,
            )
            told = asyncio.run(headers_of(name, theirs))
            for own in running.values():
                if own is not worker:
                    own.process.send_signal(signal.SIGTERM)
            again.send_signal(signal.SIGTERM)
            for process in (again, *(own.process for own in running.values())):
                process.wait(timeout=30)
        finally:
            again.kill()
            again.wait()

    spans = spans_in(telemetry)
    in_their_clients_trace(spans, theirs)
    assert sorted(one["ce_type"] for one in told) == sorted(2 * EVENTS)
    for found in told:
        assert found["traceparent"] == f"00-{CLIENTS_TRACE}-{found['ce_id'][:16]}-00"
        assert found["tracestate"] == CLIENTS_CONTEXT["tracestate"]

    traces = {one.replace("-", "") for one in placed}
    mine = [one for one in spans if one["trace"]["id"] in traces]
    roots = Counter(one["trace"]["id"] for one in mine if "parent" not in one)
    assert roots == dict.fromkeys(traces, 1)
    assert orphans(mine) == []
    for trace in traces:
        of_one = [one for one in mine if one["trace"]["id"] == trace]
        assert {one["service"]["name"] for one in of_one} == {
            service_name(role) for role in SERVICES
        }
        called = {one["service"]["target"]["name"] for one in of_one if "target" in one["service"]}
        assert called >= THIRD_PARTIES
    assert set(own_services()) >= {"api", "relay"}
    shipped_whole(mine)


def in_their_clients_trace(spans: list[Document], orders: list[str]) -> None:
    """The orders are whole in the one trace that their client began, under its span."""
    theirs = [one for one in spans if one["trace"]["id"] == CLIENTS_TRACE]
    assert not {one.replace("-", "") for one in orders} & {one["trace"]["id"] for one in spans}
    assert all("parent" in one for one in theirs)
    under = [one for one in theirs if one["parent"]["id"] == CLIENTS_SPAN]
    assert sorted(one["labels"]["order_id"] for one in under) == sorted(orders)
    assert {one["transaction"]["name"] for one in under} == {"POST /orders"}
    assert orphans(theirs) == ["POST /orders"] * len(orders)
    for order in orders:
        services = {one["service"]["name"] for one in theirs if one["labels"]["order_id"] == order}
        assert services == {service_name(role) for role in SERVICES}


async def headers_of(name: str, orders: list[str]) -> list[dict[str, str]]:
    """The headers of every event of these orders, as any client of Kafka reads them."""
    topics = {f"{name.replace('_', '-')}.{TOPIC_OF[event]}" for event in EVENTS}
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=need("kafka"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    ends = await consumer.end_offsets(consumer.assignment())
    found = []
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=1_000))[partition]:
                headers = {key: value.decode() for key, value in record.headers}
                if headers["ce_subject"] in orders:
                    found.append(headers)
    await consumer.stop()
    return found


def shipped_whole(spans: list[Document]) -> None:
    """The same spans in a search server: each once, one trace queried back whole."""
    url = need("search")
    assert app.run_command(["ship", "--templates"]) == 0
    with SearchServer(url) as server:
        server.forget(STREAM)
        shipped = asyncio.run(_ship(spans, url))
        assert (shipped.refused, shipped.created) == (0, len(spans))
        trace = spans[0]["trace"]["id"]
        found = list(server.documents(STREAM, {"term": {"trace.id": trace}}).values())
        server.forget(STREAM)
    assert len(found) == sum(one["trace"]["id"] == trace for one in spans)
    assert orphans(found) == []


async def _ship(spans: list[Document], url: str) -> Shipped:
    async with http_caller(url, connections_max=1) as caller:
        return await ship(spans, caller, address="search", sleep_us=SystemClock().sleep_us)
