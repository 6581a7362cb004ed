"""Made-up orders: valid, repeatable, and the same whatever Faker says."""

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.order import NewOrder
from lab.domain.request import parse_order
from lab.scenarios.made_up import made_up
from lab.scenarios.scenario import parse_spike
from lab.scenarios.workload import PlannedOrder


def test_every_made_up_order_is_valid() -> None:
    parsed = [parse_order(order.body) for order in made_up(3, 2_000, 50)]

    assert all(isinstance(order, NewOrder) for order in parsed)
    assert len({order.currency for order in parsed if isinstance(order, NewOrder)}) > 3


def test_one_seed_makes_one_workload() -> None:
    assert list(made_up(7, 200, 50)) == list(made_up(7, 200, 50))
    assert list(made_up(7, 200, 50)) != list(made_up(8, 200, 50))


def test_fewer_orders_are_the_first_of_more() -> None:
    assert list(made_up(7, 20, 50)) == list(made_up(7, 200, 50))[:20]


def test_keys_and_ordinals_are_unique_and_count_from_1() -> None:
    orders = list(made_up(7, 500, 50))

    assert [order.ordinal for order in orders] == list(range(1, 501))
    assert len({order.key for order in orders}) == 500
    assert {order.key for order in orders}.isdisjoint(order.key for order in made_up(8, 500, 50))


@given(seed=st.integers(0, 2**63 - 1), rate=st.floats(1e-6, 1e6))
def test_arrivals_start_at_0_and_never_go_back(seed: int, rate: float) -> None:
    times = [order.at_us for order in made_up(seed, 30, rate)]

    assert times[0] == 0
    assert times == sorted(times)
    assert abs(times[-1] - 29_000_000 / rate) <= 1_000_000 / rate + 1


def test_in_a_spike_orders_come_so_many_times_as_fast() -> None:
    spike = parse_spike("20x at=5s for=2s")

    times = [order.at_us for order in made_up(3, 1_100, 20, spike)]
    plain = [order.at_us for order in made_up(3, 1_100, 20)]

    assert times == sorted(times)
    calm, during = times[:99], [t for t in times if 5_000_000 <= t < 7_000_000]
    assert calm == plain[:99]
    assert abs(len(during) - 20 * 20 * 2) <= 20
    # Behind it the pace is the old one, and everything comes 19 times 2 seconds earlier.
    assert times[-99:] == [at_us - 38_000_000 for at_us in plain[-99:]]


@given(
    times=st.integers(2, 1_000),
    at_s=st.integers(0, 100),
    for_s=st.integers(1, 100),
    rate=st.floats(0.01, 1e4),
)
def test_a_spike_never_turns_time_back(times: int, at_s: int, for_s: int, rate: float) -> None:
    spike = parse_spike(f"{times}x at={at_s}s for={for_s}s")

    arrivals = [order.at_us for order in made_up(1, 60, rate, spike)]

    assert arrivals[0] == 0
    assert arrivals == sorted(arrivals)


def test_names_of_people_are_in_no_body(monkeypatch: pytest.MonkeyPatch) -> None:
    with_names = list(made_up(7, 100, 50))
    monkeypatch.setattr("lab.scenarios.made_up._senders", lambda _seed: ["x@example.com"] * 256)
    without = list(made_up(7, 100, 50))

    assert all(order.sender.endswith("@example.com") for order in with_names)
    assert {order.sender for order in with_names} != {"x@example.com"}
    assert [nameless(order) for order in with_names] == [nameless(order) for order in without]


def nameless(order: PlannedOrder) -> tuple[int, int, bytes, str]:
    return order.ordinal, order.at_us, order.body, order.key


def test_a_workload_counts_what_was_taken_of_it() -> None:
    workload = made_up(7, 100, 50)
    assert workload.total == 100
    assert workload.read == 0

    taken = list(itertools.islice(workload, 30))

    assert len(taken) == workload.read == 30
    assert workload.unreadable == 0


def test_faker_is_imported_by_the_first_order_only() -> None:
    script = (
        "import sys; from lab.scenarios.made_up import made_up; workload = made_up(1, 1, 1); "
        "print('faker' in sys.modules); next(workload); print('faker' in sys.modules)"
    )

    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert told.stdout.split() == ["False", "True"]
