"""Numbers and verdicts in words."""

import pytest
from msgspec.structs import replace

from lab.report.html.words import (
    count,
    length,
    listed,
    number,
    often,
    percent,
    proof,
    round_length,
    verdict_sentence,
)
from lab.story.words import sentence
from tests.kit.results import make_fail, make_result, make_unknown


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 ms"),
        (49, "0 ms"),
        (6_040, "6.0 ms"),
        (14_529, "15 ms"),
        (999_400, "999 ms"),
        (999_600, "1.00 s"),
        (9_994_000, "9.99 s"),
        (9_996_000, "10.0 s"),
        (99_960_000, "1 m 40 s"),
        (3_599_400_000, "59 m 59 s"),
        (3_600_000_000, "1 h 00 m"),
        (86_400_000_000 * 89, "89 d 0 h"),
    ],
)
def test_a_length_has_two_or_three_figures(us: int, text: str) -> None:
    assert length(us) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0"),
        (500, "500 us"),
        (50_000, "50 ms"),
        (2_000_000, "2 s"),
        (100_000_000, "100 s"),
        (90_000_000, "1.5 min"),
        (10_800_000_000, "3 h"),
        (172_800_000_000, "2 d"),
    ],
)
def test_a_round_length_is_as_short_as_it_can_be(us: int, text: str) -> None:
    assert round_length(us) == text


def test_small_words() -> None:
    assert (number(3_090), number(6.176), number(2.5), number(123.456)) == (
        "3,090",
        "6.18",
        "2.5",
        "123.5",
    )
    assert (percent(1, 3), percent(1, 300), percent(0, 0)) == ("33 %", "0.3 %", "0 %")
    assert [often(n) for n in (0, 1, 2, 3_000)] == ["0 times", "once", "twice", "3,000 times"]
    assert (count(1, "order"), count(2, "order"), count(0, "stretch", "stretches")) == (
        "1 order",
        "2 orders",
        "0 stretches",
    )
    assert [listed(list("abcde")[:n]) for n in range(5)] == [
        "", "a", "a and b", "a, b and c", "a, b, c and 1 more",
    ]  # fmt: skip


def test_a_sentence_begins_with_a_capital_unless_its_first_word_is_a_name() -> None:
    assert sentence("order 1: it is lost") == "Order 1: it is lost."
    assert sentence("svc.timeout >= 4 % did not happen.") == "svc.timeout >= 4 % did not happen."
    assert sentence(" ") == ""


def test_the_verdict_is_one_sentence() -> None:
    assert verdict_sentence(make_fail()) == "1 of 10 promises was broken: no-double-charge."
    assert proof(make_fail()) == "Order 37: 2 captures, at 4.210s and 9.730s."
    passed = verdict_sentence(make_result())
    assert passed == (
        "All 10 promises that this run put to the test held, while bus.duplicate struck 96 times."
    )
    assert proof(make_result()) == ""


def test_a_run_that_proves_nothing_says_what_did_not_happen() -> None:
    unknown = make_unknown()

    assert verdict_sentence(unknown) == "Nothing was broken, but this run proves nothing."
    assert proof(unknown) == "bus.duplicate >= 4 % was to happen and did not."
    idle = [
        replace(check, verdict="UNKNOWN", checked=0) if check.name == "effect-once" else check
        for check in unknown.checks
    ]
    idle_run = replace(unknown, checks=tuple(idle), goals=(), partial=True)
    assert proof(idle_run) == ("effect-once was never put to the test; the run was interrupted.")


def test_beyond_the_contract_there_is_no_verdict() -> None:
    beyond = replace(make_fail(), verdict="UNKNOWN", beyond_contract=("bus.drop_publish",))

    assert verdict_sentence(beyond) == (
        "No verdict, because the design does not promise to survive this; 1 of 10 promises was "
        "broken: no-double-charge."
    )


def test_without_faults_it_says_so() -> None:
    assert verdict_sentence(replace(make_result(), faults=())).endswith(
        "; nothing was made to go wrong."
    )
