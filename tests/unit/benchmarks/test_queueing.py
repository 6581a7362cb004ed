"""Formula, recursion and lab agree on a wait; each can be wrong without the others."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from statistics import fmean

import pytest

from benchmarks.queueing import (
    erlang_c,
    exponential,
    exponential_latencies,
    mean_wait,
    poisson,
    simulated,
    waits,
)

WORKERS = 3


@pytest.mark.parametrize(
    ("servers", "load", "share"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (10, 8.0, 0.409180)]
)
def test_the_share_of_those_who_wait_is_the_one_in_the_tables(
    servers: int, load: float, share: float
) -> None:
    assert erlang_c(servers, load) == pytest.approx(share, rel=1e-5)


def test_hundreds_of_servers_overflow_nothing() -> None:
    servers, load = 400, 320
    terms = [Fraction(load**k, math.factorial(k)) for k in range(servers + 1)]
    all_busy = terms[-1] * servers / (servers - load)

    assert erlang_c(servers, load) == pytest.approx(float(all_busy / (sum(terms[:-1]) + all_busy)))


@pytest.mark.parametrize("load", [3.0, 3.5, -0.1])
def test_a_load_that_the_servers_cannot_bear_is_refused(load: float) -> None:
    with pytest.raises(ValueError, match="3 servers"):
        erlang_c(3, load)


def test_of_equal_services_half_the_wait_remains() -> None:
    assert mean_wait(4, 3.0, 1.0, 0.0) == mean_wait(4, 3.0, 1.0) / 2


def test_who_comes_first_is_served_first_by_whoever_is_free() -> None:
    assert list(waits([0, 1, 2, 3, 50], [10, 4, 10, 1, 1], 2)) == [0, 0, 3, 7, 0]


@pytest.mark.parametrize("servers", [1, 4])
def test_many_waits_of_the_recursion_have_the_mean_of_the_formula(servers: int) -> None:
    many, mean_us, busy = 20_000, 1_000.0, 0.6
    rate = busy * servers / mean_us
    services: Iterator[int] = islice(exponential(1, mean_us), many)

    waited = fmean(waits(islice(poisson(1, rate * 1e6), many), services, servers))

    assert waited == pytest.approx(mean_wait(servers, rate, mean_us), rel=0.1)


@pytest.mark.slow
def test_an_order_waits_in_the_lab_as_long_as_in_the_recursion_and_on_average_as_erlang_says() -> (
    None
):
    """To the microsecond, order by order; only the mean is a matter of luck, and the seed is fixed.

    A worker that idles beside a queue, a later order that is taken first, a record that stays in
    the log for a while: each makes some order wait for another time.
    """
    rate = 0.7 * WORKERS / (0.120 * math.exp(0.125))
    with exponential_latencies():
        (queue,) = simulated(
            orders=500,
            rate=rate,
            settings={"bus.workers": WORKERS, "validation.latency_ms": 1},
        ).values()

    assert list(queue.waited) == list(waits(queue.arrived, queue.served, WORKERS))
    service = fmean(queue.served)
    assert queue.utilisation(WORKERS) == pytest.approx(0.7, rel=0.1)
    assert fmean(queue.waited) == pytest.approx(mean_wait(WORKERS, queue.rate, service), rel=0.25)


@pytest.mark.slow
def test_each_member_of_a_group_is_a_queue_of_its_own() -> None:
    """Workers of a member cannot take what stands in the partitions of another."""
    queues = simulated(
        orders=200,
        rate=60.0,
        settings={"bus.workers": 2, "bus.partitions": 64, "run.members": 4},
    )

    assert len(queues) == 4
    for queue in queues.values():
        assert list(queue.waited) == list(waits(queue.arrived, queue.served, 2))
    assert sum(sum(queue.waited) for queue in queues.values()) > 0
