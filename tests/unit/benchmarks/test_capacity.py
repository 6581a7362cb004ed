"""The arithmetic of the capacity page, on costs that can be followed by hand."""

import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.capacity import Costs, Machines, full_at, main, needs, page, rate_of, worker_ms
from benchmarks.costs import PROCESSES, per_order

GIVEN = Machines(
    busy=0.5,
    worker_cores=4,
    server_cores=10,
    wal_mb=100.0,
    broker_mb=10.0,
    copies=3,
    partitions=8,
    connections=100,
    connections_each=2,
)
COSTS = Costs(
    orders=(60, 900),
    seconds=30.0,
    cpu_ms={
        "api": 2.0,
        "validation": 3.0,
        "payment": 3.0,
        "notification": 1.0,
        "orders": 1.0,
        "relay": 2.0,
        "postgres": 4.0,
        "redis": 0.5,
        "kafka": 1.0,
    },
    postgres={"commits": 10.0, "rows": 30.0, "wal_bytes": 10_000.0},
    redis={"calls": 40.0, "net_bytes": 3_000.0},
    kafka={"records": 4.0, "bytes": 2_000.0},
)


def test_the_relay_takes_no_core_of_a_worker_machine() -> None:
    assert worker_ms(COSTS) == 10.0
    assert rate_of(COSTS, 10, GIVEN) == pytest.approx(10 * 4 * 0.5 / 0.010)


def test_each_resource_is_asked_for_its_part_of_the_rate() -> None:
    found = {need.name: (need.used, need.limit, need.count) for need in needs(COSTS, 2_000, GIVEN)}

    assert found == {
        "PostgreSQL, processor": (8.0, 5.0, 2),
        "PostgreSQL, log": (20.0, 100.0, 1),
        "Redis, its thread": (1.0, 0.5, 2),
        "a relay, its thread": (4.0, 0.5, 8),
        "a broker, processor": (6.0, 5.0, 2),
        "a broker, records": (12.0, 10.0, 2),
        "partitions": (12.0, 8, 2),
        "PostgreSQL, connections": (80.0, 100, 1),
    }


def test_what_is_full_first_stands_first() -> None:
    rows = full_at(COSTS, GIVEN)

    assert [name for name, _, _ in rows][:3] == [
        "a relay, its thread",
        "Redis, its thread",
        "PostgreSQL, processor",
    ]
    _, rate, machines = rows[0]
    assert rate == pytest.approx(250.0)
    assert machines == pytest.approx(250.0 / 200.0)


def test_nothing_is_less_than_one() -> None:
    assert {need.count for need in needs(COSTS, 1.0, GIVEN)} == {1}


def test_the_page_has_a_column_for_each_number_of_machines() -> None:
    text = page(COSTS, (10, 1_000), GIVEN)

    assert "10.0 ms of a worker's core: 100 orders a second and core" in text
    assert "| 10 machines: 2,000/s | 1,000 machines: 200,000/s |" in text
    assert "| a relay, its thread | 4.0 cores, 8 | 400.0 cores, 800 |" in text


# ---- costs


def _counters(orders: int) -> dict[str, float]:
    once, each = 1_000.0, 3.0
    names = [f"cpu_ms.{name}" for name in (*PROCESSES, "postgres", "redis", "kafka")]
    names += ["postgres.rows", "redis.calls", "kafka.records"]
    return dict.fromkeys(names, once + each * orders)


def test_what_a_run_pays_once_is_no_cost_of_an_order() -> None:
    costs = per_order(_counters(60), _counters(900), (60, 900), 30.0)

    assert set(costs.cpu_ms.values()) == {3.0}
    assert costs.postgres == {"rows": 3.0}
    assert costs.redis == {"calls": 3.0}
    assert costs.kafka == {"records": 3.0}


def test_costs_that_drown_in_noise_are_refused() -> None:
    busy = _counters(900) | {"cpu_ms.kafka": 1.0}

    with pytest.raises(ValueError, match=r"cpu_ms\.kafka: lost in noise"):
        per_order(_counters(60), busy, (60, 900), 30.0)


def test_the_busy_run_is_the_second_one() -> None:
    with pytest.raises(ValueError, match="more orders"):
        per_order(_counters(900), _counters(60), (900, 60), 30.0)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, (), "make it by: python -m benchmarks.costs >"),
        (b"{}", (), "missing required field `orders`; make it by"),
        (msgspec.json.encode(COSTS), ("--machines", "ten"), "commas between them, not 'ten'"),
    ],
)
def test_what_it_cannot_read_is_named_with_the_remedy(
    text: bytes | None,
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "costs.json"
    if text is not None:
        path.write_bytes(text)
    monkeypatch.setattr(sys, "argv", ["capacity", str(path), *words])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
