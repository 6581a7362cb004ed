"""What `lab bench --real` makes of its measurements, and that its baselines measure what they say.

No server is needed here, and nothing looks at how fast anything is.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import msgspec
import pytest

from lab.bench import real, real_figures, real_verdict
from lab.bench.baselines import lifecycle_sql, redis_set
from lab.bench.baselines.raw_asgi import BODY, raw_app, requests_a_second
from lab.bench.figures import Figure
from lab.bench.real_http import NullStore, _lab_app, posts_a_second
from lab.bench.real_kafka import Orderliness, same_bytes
from lab.bench.real_rounds import RealRound
from lab.bench.report import encode_report, report_schema
from lab.bench.sample_orders import all_events, make_created
from lab.bench.work_until import work_until
from lab.cli.app import run_command
from lab.domain.envelope import from_headers
from lab.domain.errors import EnvironmentNotReady
from lab.domain.events import TOPIC_OF
from lab.runtime.http_server import http_server
from lab.wiring.backends.readiness import ServerState
from tests.kit.bench_reports import make_real_report, make_real_round, make_verdict


def all_figures(*rounds: RealRound, orders: int = 200, real_s: float = 9.0) -> list[Figure]:
    """Every figure of these rounds."""
    verdict = make_verdict(orders=orders, real_s=real_s)
    return list(real_figures.all_of(rounds, verdict))


def test_every_figure_is_its_own_rate_over_that_of_its_own_baseline() -> None:
    found = all_figures(make_real_round())

    assert {figure.name: figure.ratio for figure in found} == pytest.approx(
        {
            "Kafka, events handled": 0.5,
            "Kafka, three hops": 0.2,
            "PostgreSQL, lives of orders": 3.0,
            "Redis, keys deduplicated": 0.5,
            "Redis, keys claimed": 1.25,
            "HTTP, orders posted": 0.5,
            "lab run happy-path --real": 3.0,
        }
    )
    assert [figure.reached for figure in found] == [True, True, True, True, None, True, True]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"events": 4_999.0}, "Kafka, events handled"),
        ({"hops": 749.0}, "Kafka, three hops"),
        ({"lives": 749.0}, "PostgreSQL, lives of orders"),
        ({"keys": 11_999.0}, "Redis, keys deduplicated"),
        ({"posts": 3_999.0}, "HTTP, orders posted"),
    ],
)
def test_each_goal_is_missed_by_its_own_number_only(changes: dict[str, float], name: str) -> None:
    found = all_figures(make_real_round(**changes))

    assert [figure.name for figure in found if figure.reached is False] == [name]


def test_the_whole_run_has_a_goal_for_the_number_of_orders_that_the_goal_is_about() -> None:
    slow = all_figures(make_real_round(), real_s=10.5)[-1]
    short = all_figures(make_real_round(), real_s=10.5, orders=20)[-1]

    assert (slow.reached, short.reached) == (False, None)
    assert "200 orders at 20 a second" in slow.how


def test_a_load_of_another_length_is_another_figure() -> None:
    usual = real_figures.run(make_verdict())
    longer = real_figures.run(make_verdict(), 30.0)

    assert (usual.name, longer.name) == (
        "lab run happy-path --real",
        "lab run happy-path --real, 30 s of orders",
    )
    assert (usual.reached, longer.goal) == (True, None)


def test_two_workers_stand_beside_one() -> None:
    (found,) = real_figures.all_of([make_real_round()], None, ["workers"])

    assert (found.name, found.ratio, found.part) == ("orders through, two workers", 1.5, "workers")


@pytest.mark.parametrize("members", [1, 2])
def test_workers_are_flooded_and_their_rate_ends_with_the_last_order(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    class Times:
        spent_us = 4_000_000

    def run_timed(*options: str, load_s: float, due_us: list[int]) -> tuple[None, Times]:
        asked.append(options)
        assert load_s == pytest.approx(0.05)
        assert len(due_us) == 100
        assert due_us[-1] < 50_000
        return None, Times()

    monkeypatch.setattr(real_verdict, "run_timed", run_timed)

    assert real_verdict.flooded_orders_a_second(members, 100) == 25
    assert f"run.members={members}" in asked[0]


def test_the_length_of_a_load_is_a_number_of_orders() -> None:
    assert real_verdict.orders_in(30) == 30 * real_verdict.orders_in(1) > 30


def test_values_are_medians_over_the_rounds() -> None:
    rounds = [make_real_round(posts=rate) for rate in (1_000.0, 6_000.0, 4_000.0)]

    posts = next(one for one in all_figures(*rounds) if one.name.startswith("HTTP"))

    assert (posts.value, posts.low, posts.high) == (4_000.0, 0.125, 0.75)


def test_a_baseline_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline above 0"):
        all_figures(make_real_round(lives_raw=0.0))


def test_who_measured_a_baseline_is_told() -> None:
    found = {figure.name: figure.against for figure in all_figures(make_real_round())}

    assert found["PostgreSQL, lives of orders"].endswith("by pgbench")
    assert found["Redis, keys deduplicated"] == "redis-benchmark"


def test_a_report_is_one_object_and_reads_back() -> None:
    report = make_real_report()

    assert msgspec.json.decode(encode_report(report), type=real.RealReport) == report
    schema = msgspec.json.decode(report_schema(real.RealReport, "lab bench --real"))
    jsonschema.validate(msgspec.json.decode(encode_report(report)), schema)


# ---- servers that are not there


def test_a_server_that_cannot_be_used_ends_it_with_its_remedy() -> None:
    good = ServerState(name="Kafka", address="a:1", version="4.0")
    bad = ServerState(
        name="Redis", address="b:2", version="", problem="it is down", remedy="start it"
    )

    assert real.must_be_ready([good]) == {"Kafka": "4.0"}
    with pytest.raises(EnvironmentNotReady, match="Redis at b:2: it is down; start it"):
        real.must_be_ready([good, bad])


@pytest.mark.slow
def test_without_servers_the_command_ends_with_exit_code_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("LAB_POSTGRES_DSN", "postgresql://lab:secret@127.0.0.1:9/lab")
    monkeypatch.setenv("LAB_REDIS_URL", "redis://:secret@127.0.0.1:9/0")

    assert run_command(["bench", "--real", "--quiet"]) == 4

    said = capsys.readouterr()
    assert said.out == ""
    assert "127.0.0.1:9" in said.err
    assert "lab up" in said.err
    assert "secret" not in said.err


def test_the_long_simulated_runs_are_no_part_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "--real", "--full"]) == 2
    assert "--full" in capsys.readouterr().err


# ---- Kafka


def handle_together(*events: tuple[bytes, int]) -> int:
    """How many of these, all handled at once, did not wait."""

    async def handle() -> int:
        watch = Orderliness(len(events))
        await asyncio.gather(*(watch.handle(key, b"%08d" % number) for key, number in events))
        assert watch.end.done()
        return watch.disorders

    return asyncio.run(handle())


def test_events_that_do_not_wait_for_the_one_before_them_are_counted() -> None:
    assert handle_together((b"a", 0), (b"b", 0)) == 0
    assert handle_together((b"a", 0), (b"a", 1)) == 1
    assert handle_together((b"a", 1)) == 1


def test_the_raw_loop_sends_the_bytes_that_the_lab_sends() -> None:
    created = make_created(7)
    hops = same_bytes([created])

    told = [next(iter(hop.values())) for hop in hops]
    events = [from_headers(tuple(headers), value) for _, value, headers in told]
    assert events == all_events(created)[:3]
    assert [TOPIC_OF[event.type] for event in events] == ["orders", "validation", "payments"]
    assert {key for key, _, _ in told} == {created.subject.encode()}


# ---- PostgreSQL and Redis


def test_the_plain_statements_are_one_script_of_pgbench() -> None:
    todo = lifecycle_sql.statements(150)
    lines = lifecycle_sql.script(todo).splitlines()

    assert len(lines) == len(todo) + 1
    assert all(line.endswith((";", "\\gset")) for line in lines[1:])
    # The relay marks what each of four moves has left in the outbox, right behind it.
    gives = [place for place, one in enumerate(todo) if one.gives_number]
    marks = [place for place, one in enumerate(todo) if ":n" in one.sql]
    assert marks == [place + 1 for place in gives]
    assert len(marks) == 4


def test_a_password_of_redis_is_on_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_set, "_by_client", lambda _url, _prefix, _count: 5.0)
    monkeypatch.setattr(shutil, "which", lambda _name: "/bin/false")

    raw = redis_set.sets_a_second("redis://:secret@127.0.0.1:6379/0", "p", 10)

    assert raw == redis_set.RawSets(5.0, "redis-py SET (the server wants a password)")


# ---- HTTP


async def refusing(
    _scope: Any,
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    await receive()
    await send(
        {"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})


async def post(app: Any, count: int) -> float:
    async with http_server(app) as server:
        return await requests_a_second(server.host, server.port, count)


def test_both_apps_take_every_order() -> None:
    assert asyncio.run(post(_lab_app(), 20)) > 0
    assert asyncio.run(post(raw_app, 20)) > 0


def test_an_order_that_is_refused_is_no_measurement() -> None:
    with pytest.raises(ConnectionError, match="503"):
        asyncio.run(post(refusing, 20))


@pytest.mark.slow
def test_each_app_has_a_process_of_its_own() -> None:
    ours, raw = posts_a_second(20)

    assert ours > 0
    assert raw > 0
    assert msgspec.json.decode(BODY)["currency"] == "GBP"


def test_the_store_that_keeps_nothing_has_the_whole_port() -> None:
    assert asyncio.run(NullStore().load("x")) is None
    assert asyncio.run(NullStore().outcome("g", "x")) is None


# ---- work until its end


def test_work_ends_with_its_end() -> None:
    async def work() -> bool:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        was_cancelled = False

        async def finish() -> None:
            end.set_result(None)

        async def wait_for_ever() -> None:
            nonlocal was_cancelled
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                was_cancelled = True
                raise

        await work_until(end, [wait_for_ever(), finish()])
        return was_cancelled

    assert asyncio.run(work())


def test_work_fails_with_its_first_failure() -> None:
    async def work() -> None:
        async def fail() -> None:
            raise RuntimeError("no")

        await work_until(asyncio.get_running_loop().create_future(), [fail()])

    with pytest.raises(RuntimeError, match="no"):
        asyncio.run(work())


def test_the_wait_for_work_has_an_end() -> None:
    async def work() -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await work_until(end, [], limit_s=0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(work())
