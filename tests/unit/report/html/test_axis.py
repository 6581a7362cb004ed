"""Places on a page: every moment has one, in order, and the ticks are round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.report.html.axis import CUT_PERCENT, Axis, LogAxis, TimeAxis, nice_step, time_step

S = 1_000_000


@pytest.mark.parametrize(
    ("span", "steps", "step"), [(10, 5, 2), (11, 5, 5), (0.7, 3, 0.5), (3, 3, 1), (0, 3, 1)]
)
def test_a_step_is_one_two_or_five_times_a_power_of_ten(
    span: float, steps: int, step: float
) -> None:
    assert nice_step(span, steps) == pytest.approx(step)


@pytest.mark.parametrize(
    ("span_s", "step_s"),
    [
        (0.4, 0.1),
        (10, 2),
        (100, 20),
        (400, 120),
        (3_000, 600),
        (20_000, 7_200),
        (89 * 86_400, 20 * 86_400),
    ],
)
def test_steps_of_time_are_seconds_minutes_hours_days(span_s: float, step_s: float) -> None:
    assert time_step(span_s * S, 5) == pytest.approx(step_s * S)


def test_an_axis_ends_at_a_round_number_above_the_highest() -> None:
    assert Axis(43).top == 60
    assert Axis(43).ticks == [0, 20, 40, 60]
    assert Axis(0).top > 0
    assert (Axis(40).at(0), Axis(40).at(20), Axis(40).at(99)) == (0, 0.5, 1)


def test_a_logarithmic_axis_gives_each_power_of_ten_the_same_height() -> None:
    axis = LogAxis(20, 90_000)

    assert axis.ticks == [10, 100, 1_000, 10_000, 100_000]
    assert [axis.at(tick) for tick in axis.ticks] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert axis.at(0) == 0


def test_time_goes_by_evenly_where_something_happens_all_the_time() -> None:
    axis = TimeAxis(0, 100, range(0, 100, 10))

    assert axis.cuts == ()
    assert axis.at(25) == pytest.approx(25)


def test_without_moments_nothing_is_known_to_be_idle_and_nothing_is_cut() -> None:
    assert TimeAxis(0, 100).cuts == ()


def test_a_long_wait_is_cut_so_that_what_happens_around_it_can_be_seen() -> None:
    axis = TimeAxis(0, 1_000, [1, 2, 3, 990, 995])

    assert list(axis.cuts) == [(3, 990)]
    assert axis.at(990) - axis.at(3) == pytest.approx(CUT_PERCENT)
    assert axis.at(3) - axis.at(0) > 20
    assert axis.at(1_000) == pytest.approx(100)
    assert all(not 3 < tick < 990 for tick in axis.ticks(6))


def test_a_wait_that_leaves_the_rest_readable_is_not_cut() -> None:
    assert TimeAxis(0, 100, [10, 20, 30, 95]).cuts == ()


@given(
    st.integers(1, 10**12),
    st.lists(st.integers(0, 10**12), max_size=30),
    st.lists(st.integers(0, 10**12), min_size=2, max_size=20),
)
def test_later_is_never_further_left(end: int, moments: list[int], asked: list[int]) -> None:
    axis = TimeAxis(0, end, moments)

    places = [axis.at(moment) for moment in sorted(asked)]

    assert places == sorted(places)
    assert all(0 <= place <= 100.000_001 for place in places)
    ticks = axis.ticks(6)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 14
