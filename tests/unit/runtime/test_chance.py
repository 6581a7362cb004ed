"""Claims about keyed chance: stable, independent of order, contained, and fair enough."""

import math
from enum import IntEnum, StrEnum
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.runtime.chance import KeyedChance

parts = st.one_of(st.integers(), st.text())
keys = st.lists(parts, min_size=1, max_size=4).map(tuple)


class Site(StrEnum):
    RELAY = "relay"


class Ordinal(IntEnum):
    THIRD = 3


def test_draws_are_the_same_on_every_machine_and_version() -> None:
    chance = KeyedChance(7)
    assert chance.u("svc.error", "payment.charge", 17, 3) == 0.862994459611993
    assert chance.u("übung", -1) == 0.7608863884106075
    assert chance.integer(1, 6, "die") == 4
    assert chance.choice(["a", "b", "c"], "letter") == "b"


@given(keys, keys)
def test_keys_are_told_apart(left: tuple[str | int, ...], right: tuple[str | int, ...]) -> None:
    chance = KeyedChance(1)
    assert (chance.bits(*left) == chance.bits(*right)) == (left == right)


@given(keys, st.text(), st.integers())
def test_a_draw_under_the_first_parts_is_the_draw_of_the_whole_key(
    first: tuple[str | int, ...], text: str, number: int
) -> None:
    chance = KeyedChance(1)
    assert chance.under(*first)(text, number) == chance.u(*first, text, number)


def test_parts_of_a_key_do_not_run_together() -> None:
    chance = KeyedChance(1)
    different = [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), (1, 2), (12,), ("1", 2)]
    assert len({chance.bits(*key) for key in different}) == len(different)


def test_an_enum_member_counts_as_its_value() -> None:
    chance = KeyedChance(1)
    assert chance.bits(Site.RELAY, Ordinal.THIRD, "<x>") == chance.bits("relay", 3, "<x>")
    assert chance.under(Site.RELAY, Ordinal.THIRD)("<x>", 1) == chance.u("relay", 3, "<x>", 1)


def test_seeds_are_independent() -> None:
    draws = [KeyedChance(seed).u("coin", n) for seed in range(-20, 20) for n in range(50)]
    assert len(set(draws)) == len(draws)
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.03)


@given(st.integers(), keys)
def test_a_rate_of_nothing_never_fires_and_a_rate_of_one_always_does(
    seed: int, key: tuple[str | int, ...]
) -> None:
    assert 0.0 <= KeyedChance(seed).u(*key) < 1.0


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_coins_fire_at_their_rate(rate: float) -> None:
    chance = KeyedChance(3)
    fired = sum(chance.u("coin", n) < rate for n in range(10_000))
    assert abs(fired - 10_000 * rate) < 4 * math.sqrt(10_000 * rate * (1 - rate))


def test_neighbouring_keys_are_not_correlated() -> None:
    draws = [KeyedChance(5).u("order", n) for n in range(10_000)]
    steps_up = sum(a < b for a, b in pairwise(draws))
    assert abs(steps_up - 5000) < 150


def test_integers_cover_their_range_evenly() -> None:
    chance = KeyedChance(1)
    counts = dict.fromkeys(range(-2, 4), 0)
    for n in range(6000):
        counts[chance.integer(-2, 3, "die", n)] += 1
    assert min(counts.values()) > 850
    assert chance.integer(4, 4, "die") == 4
    with pytest.raises(ValueError, match="no integer from 5 to 4"):
        chance.integer(5, 4, "die")


def test_choice_covers_its_options() -> None:
    chance = KeyedChance(1)
    assert {chance.choice("abc", "letter", n) for n in range(100)} == set("abc")
    with pytest.raises(ValueError, match="nothing to choose"):
        chance.choice([], "letter")
