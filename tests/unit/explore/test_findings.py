"""Twenty seeds that break in one way are one finding."""

import pytest

from lab.explore.findings import Break, Judged, SearchFinding, add_to, most_often_first, shape_of


def run(seed: int, *broken: tuple[str, str]) -> Judged:
    return Judged(
        seed=seed,
        verdict="FAIL" if broken else "PASS",
        why="",
        broken=tuple(Break(promise=name, witness=witness) for name, witness in broken),
        reproduce=f"lab run x --seed {seed}",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 37: 2 captures, at 4.210s and 9.730s", "order 1: 3 captures, at 0.1s and 12.003s"),
        ("orders 1, 2, 3 never ended", "orders 4,117, 5 never ended"),
        (
            "event 01a2287d-387b-74e3-98ae-6cf4d8caeae0 was lost",
            "event 01b2287d-aa7b-74e3-98ae-6cf4d8caef11 was lost",
        ),
        ("payment-2#3 committed twice", "payment committed twice"),
    ],
)
def test_witnesses_that_differ_in_numbers_ids_and_lives_have_one_shape(
    one: str, other: str
) -> None:
    assert shape_of(one) == shape_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 1: its revenue was added 2 times", "order 1: its refund was added 2 times"),
        ("payment committed OrderValidated 2 times", "orders committed OrderValidated 2 times"),
    ],
)
def test_witnesses_that_differ_in_a_word_have_two_shapes(one: str, other: str) -> None:
    assert shape_of(one) != shape_of(other)


def test_seeds_are_counted_by_promise_and_shape_the_most_frequent_first() -> None:
    found: list[SearchFinding] = []
    add_to(found, [run(3, ("a", "order 1 twice")), run(4)])
    add_to(found, [run(5, ("b", "order 2 twice")), run(6, ("b", "order 9 twice"))])
    add_to(found, [run(7, ("b", "order 9 lost"), ("b2", "order 9 twice"))])

    told = [(one.promise, one.shape, one.seeds) for one in most_often_first(found)]
    assert told == [
        ("b", "order N twice", [5, 6]),
        ("a", "order N twice", [3]),
        ("b", "order N lost", [7]),
        ("b2", "order N twice", [7]),
    ]
    assert most_often_first(found)[0].witness == "order 2 twice"
    assert most_often_first(found)[0].reproduce == "lab run x --seed 5"


def test_a_finding_names_ten_seeds_and_counts_all() -> None:
    found: list[SearchFinding] = []
    add_to(found, [run(seed, ("a", f"order {seed}")) for seed in range(1, 31)])

    (one,) = found
    assert (one.count, one.seeds) == (30, list(range(1, 11)))
