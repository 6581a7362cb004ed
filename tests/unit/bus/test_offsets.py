"""The tracker of one partition: what may be committed, whatever the order of settlements."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bus.loop.offsets import OffsetTracker
from lab.patterns.commit_prefix import commit_highest, commit_prefix
from lab.ports.bus import TopicPartition


def make_tracker(*delivered: int) -> OffsetTracker:
    tracker = OffsetTracker(TopicPartition("orders", 0))
    for offset in delivered:
        tracker.delivered(offset)
    return tracker


def test_nothing_delivered_means_nothing_to_commit() -> None:
    tracker = make_tracker()
    assert (tracker.contiguous, tracker.highest, tracker.window) == (-1, -1, 0)
    assert commit_prefix(tracker) == -1


def test_a_new_tracker_has_started_and_committed_nothing_and_waits_for_nothing() -> None:
    tracker = make_tracker()
    assert tracker.partition == TopicPartition("orders", 0)
    assert (tracker.started, tracker.committed) == (-1, -1)
    assert tracker.is_dirty is False
    assert tracker.is_paused is False


def test_the_prefix_starts_at_the_first_delivery() -> None:
    assert make_tracker(17, 18).contiguous == 17


def test_the_prefix_stops_before_a_gap_and_jumps_when_it_closes() -> None:
    tracker = make_tracker(0, 1, 2, 3)
    tracker.settled(0)
    tracker.settled(2)
    tracker.settled(3)
    assert (tracker.contiguous, tracker.highest, tracker.window) == (1, 3, 3)
    tracker.settled(1)
    assert (tracker.contiguous, tracker.window) == (4, 0)


def test_offsets_that_the_log_skips_leave_no_gap() -> None:
    tracker = make_tracker(3, 7, 9)
    tracker.settled(3)
    assert tracker.contiguous == 4
    tracker.settled(7)
    tracker.settled(9)
    assert tracker.contiguous == 10


def test_an_offset_delivered_twice_is_settled_when_both_are() -> None:
    tracker = make_tracker(0, 1)
    assert tracker.delivered(0) is False
    tracker.settled(0)
    tracker.settled(1)
    assert tracker.contiguous == 0
    tracker.settled(0)
    assert tracker.contiguous == 2


def test_a_duplicate_below_the_prefix_never_moves_it_back() -> None:
    tracker = make_tracker(0, 1)
    tracker.settled(0)
    assert tracker.delivered(0) is False
    tracker.settled(1)
    assert tracker.contiguous == 2
    tracker.settled(0)
    assert tracker.contiguous == 2


def test_settling_what_is_not_in_hand_is_refused() -> None:
    tracker = make_tracker(0)
    tracker.settled(0)
    with pytest.raises(KeyError):
        tracker.settled(0)


def test_the_weak_position_passes_the_gap() -> None:
    tracker = make_tracker(0, 1, 2)
    tracker.settled(2)
    assert commit_prefix(tracker) == 0
    assert commit_highest(tracker) == 3
    tracker.settled(0)
    tracker.settled(1)
    assert commit_prefix(tracker) == commit_highest(tracker) == 3


@given(data=st.data(), skips=st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_the_prefix_is_what_a_plain_model_says(data: st.DataObject, skips: list[int]) -> None:
    offsets = [sum(skips[: n + 1]) for n in range(len(skips))]
    tracker = OffsetTracker(TopicPartition("orders", 0))
    in_hand: Counter[int] = Counter()
    delivered: list[int] = []
    settled: set[int] = set()
    # The model: never back, up to the first delivered offset that is in hand.
    position = -1
    for _ in range(4 * len(offsets)):
        choices = ["next"] if len(delivered) < len(offsets) else []
        choices += ["again"] if delivered else []
        choices += ["settle", "settle"] if in_hand else []
        match data.draw(st.sampled_from(choices)) if choices else "":
            case "next":
                offset = offsets[len(delivered)]
                delivered.append(offset)
                assert tracker.delivered(offset)
                in_hand[offset] += 1
                position = offset if position < 0 else position
            case "again":
                offset = data.draw(st.sampled_from(delivered))
                assert not tracker.delivered(offset)
                in_hand[offset] += 1
            case "settle":
                offset = data.draw(st.sampled_from(sorted(in_hand)))
                tracker.settled(offset)
                in_hand[offset] -= 1
                in_hand += Counter()
                settled.add(offset)
            case _:
                break
        above = [offset for offset in delivered if offset >= position]
        while above and above[0] not in in_hand:
            position = above.pop(0) + 1
        assert tracker.contiguous == position
        assert tracker.window == len(above)
        if not in_hand:
            assert tracker.highest == max(settled, default=-1)
