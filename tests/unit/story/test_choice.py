"""Which orders are worth a look."""

from lab.story.choice import WITNESSES_MAX, chosen_orders


def choose(*witnesses: tuple[str, str, int | None], hits: int = 3) -> dict[int, str]:
    return chosen_orders(
        witnesses, hit_most="7.1" if hits else "", hits=hits, slowest="9.2", slowest_took="2 s"
    )


def test_the_witness_of_the_first_broken_promise_comes_first() -> None:
    chosen = choose(("no-leak", "a lease is left", None), ("effect-once", "order 4: twice", 4))

    assert list(chosen) == [4, 9]
    assert chosen[4] == "The witness of effect-once: order 4: twice."


def test_of_many_broken_promises_some_witnesses_are_enough() -> None:
    many = [(f"promise-{number}", "x", number) for number in range(1, 9)]

    assert len(choose(*many)) == WITNESSES_MAX + 1


def test_without_a_broken_promise_it_is_the_order_that_most_faults_struck() -> None:
    assert next(iter(choose())) == 7
    assert choose(hits=1)[7] == "The first order that a fault struck."
    assert list(choose(hits=0)) == [9]
