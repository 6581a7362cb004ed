"""Bins of time: bounded however long a run is, and nothing is lost in them."""

from hypothesis import given
from hypothesis import strategies as st

from lab.report.time_bins import BINS_MAX, Bins, Level

S = 1_000_000


def test_what_is_counted_is_in_some_column_however_long_the_run_is() -> None:
    bins = Bins()
    for t_us in range(0, 5_000 * S, S):
        bins.at(t_us).accepted += 1

    columns = bins.columns(0, 5_000 * S, 50)

    assert sum(one.accepted for one in columns) == 5_000
    assert len(columns) <= 50
    assert len(bins._bins) <= BINS_MAX


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=200), st.integers(2, 100))
def test_columns_have_one_width_and_no_gaps(moments: list[int], most: int) -> None:
    bins = Bins()
    for t_us in moments:
        bins.at(t_us).ended += 1

    columns = bins.columns(min(moments), max(moments), most)

    width = bins.width_of(min(moments), max(moments), most)
    starts = [one.start_us for one in columns]
    assert starts == list(range(starts[0], starts[0] + len(starts) * width, width))
    assert starts[0] <= min(moments)
    assert max(moments) < starts[-1] + width
    assert len(columns) <= most
    assert sum(one.ended for one in columns) == len(moments)


def test_a_level_stays_what_it_was_until_it_changes_and_its_peak_is_kept() -> None:
    bins = Bins()
    bins.step(0, Level.OPEN, 3)
    bins.step(10 * S, Level.OPEN, 9)
    bins.step(10 * S + 1, Level.OPEN, -11)
    bins.step(20 * S, Level.OPEN, -1)

    opened = [one.open for one in bins.columns(0, 24 * S, 12)]

    # Three until the peak, which lasted a microsecond; then one, which is still there when it ends.
    assert max(opened) == 12
    assert opened[0] == 3
    assert opened[-1] == 0


def test_a_percentile_is_at_most_a_thirtysecond_too_small() -> None:
    bins = Bins()
    for ms in range(1, 1_001):
        bins.at(0).add_latency(ms * 1_000)

    (column,) = bins.columns(0, 1, 5)

    assert column.p50_us is not None
    assert column.p95_us is not None
    assert 500_000 * 31 / 32 <= column.p50_us <= 500_000
    assert 950_000 * 31 / 32 <= column.p95_us <= 950_000


def test_a_column_without_orders_has_no_percentile() -> None:
    (column,) = Bins().columns(0, 1, 5)

    assert (column.p50_us, column.p95_us) == (None, None)
