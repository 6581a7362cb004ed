"""From which number of tasks on it pays to hand them to others."""

import pytest

from benchmarks.tasks import Price, nothing, pays_from, price_of
from lab.explore.spread import Crew

PRICE = Price(start=1_000.0, wall=5.0, caller=4.0)


@pytest.mark.parametrize(
    ("task", "workers", "tasks"),
    [
        (100.0, 2, 21),  # each task gains 50 ms, and 20 gain the start and no more
        (100.0, 50, 11),  # the caller hands one over every 4 ms: more than 25 workers idle
        (4.0, 2, None),  # handing it over takes as long as doing it
    ],
)
def test_a_task_pays_when_all_of_them_gain_more_than_the_start(
    task: float, workers: int, tasks: int | None
) -> None:
    assert pays_from(task, PRICE, workers) == tasks


def test_a_caller_feeds_as_many_workers_as_prices_fit_into_a_task() -> None:
    assert PRICE.fed(100.0) == 25


def test_the_price_is_taken_of_tasks_that_were_done() -> None:
    price = price_of(Crew(None, 1), 50)

    assert price.caller > 0
    assert price.wall > 0
    assert nothing.__module__ == "benchmarks.tasks", "a worker finds it by its name"
