"""What stands behind the charts and on their axes."""

from msgspec.structs import replace

from lab.report.html.timeline import bands_of, latency_range, per_of, phase_lines, rates
from tests.kit.report_pages import S, make_column, make_course


def test_faults_that_meet_are_one_band_and_one_that_lasts_is_as_long_as_it_was() -> None:
    course = make_course()
    far = replace(make_column(12), faults={"bus.duplicate": 3})
    columns = (*course.columns[:12], far, *course.columns[13:])

    assert bands_of(course) == [(2 * S, 5 * S)]
    assert bands_of(replace(course, columns=columns)) == [(2 * S, 5 * S), (12 * S, 13 * S)]


def test_a_fault_that_lasts_begins_when_it_did_and_not_with_its_column() -> None:
    course = make_course()
    lane = replace(course.lanes[0], spans=((2 * S + 500_000, 3 * S),))
    struck = replace(make_column(2), faults={lane.kind: 1})
    columns = (*course.columns[:2], struck, *(make_column(n) for n in range(5, 20)))

    assert bands_of(replace(course, lanes=(lane,), columns=columns)) == [(2 * S + 500_000, 3 * S)]


def test_the_end_of_the_faults_is_marked_unless_the_run_ends_there() -> None:
    course = make_course()

    assert phase_lines(course) == [(8 * S, "faults end")]
    assert phase_lines(replace(course, end_us=8 * S)) == []
    assert phase_lines(replace(course, lanes=())) == []
    assert phase_lines(replace(course, phases={})) == []


def test_rates_are_told_in_a_unit_in_which_the_busiest_while_has_one() -> None:
    course = make_course()
    slow = replace(course, width_us=600 * S)

    assert per_of(course) == (S, "second")
    assert per_of(slow) == (3_600 * S, "hour")
    assert per_of(slow, course) == (S, "second")


def test_a_last_column_that_was_cut_short_makes_no_peak() -> None:
    course = replace(make_course(3), end_us=2 * S + 1_000)

    values = [value for _, value in rates(course, [1, 1, 1], S)]

    assert values == [1, 1, 1]


def test_lengths_are_drawn_on_a_logarithmic_scale_where_they_are_far_apart() -> None:
    course = make_course()

    assert latency_range([course]) == (None, 900_000)
    assert latency_range([replace(course, slowest_us=90 * S)]) == (300_000, 90 * S)
    assert latency_range([replace(course, columns=(), ended=0)]) == (None, 1_000)
