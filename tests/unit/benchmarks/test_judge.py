"""Losses, repeats, order and rates are read rightly out of what a consumer wrote."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.peers.judge import (
    Handling,
    Used,
    disorders,
    judge_rate,
    judge_stop,
    read_journal,
)
from benchmarks.peers.workload import Load, Work

USED = Used(0, 1_000, 0.0)
IN_ORDER = (Handling(1, 0, 0, 10), Handling(1, 1, 10, 20), Handling(2, 0, 0, 10))


def test_what_a_handler_writes_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    work = Work(str(journal))
    load = Load(records=6, keys=3, handler_us=0, slow_us=1)
    values = [value for _, value in load.values()]

    for value in values[:4]:
        asyncio.run(work.handle(value))
    for value in values[4:]:
        work.handle_blocking(value)

    read = read_journal(journal.read_bytes())
    handled = [(one.key, one.number) for one in read.handlings]
    assert handled == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert all(one.start_ns <= one.end_ns for one in read.handlings)
    # Of three keys the first has a slow one, in the middle: its second.
    assert read.slow_ns == (read.handlings[3].start_ns,)


def test_a_second_life_writes_behind_the_first(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    ((_, value),) = Load(records=1, keys=1, handler_us=0).values()

    for _life in range(2):
        Work(str(journal)).handle_blocking(value)

    assert len(read_journal(journal.read_bytes()).handlings) == 2


def test_a_line_that_a_kill_cut_off_does_not_count() -> None:
    journal = read_journal(b"done 1 0 5 6\nslow 1 1 7\ndone 1 1 7 ")

    assert journal.handlings == (Handling(1, 0, 5, 6),)
    assert journal.slow_ns == (7,)


@pytest.mark.parametrize("line", [b"done 1 0 5\n", b"done 1 0 5 6 7\n", b"else 1 2 3\n", b"\n"])
def test_a_line_that_no_handler_writes_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="has no line"):
        read_journal(line)


def test_records_that_wait_for_each_other_are_in_order() -> None:
    assert disorders(IN_ORDER) == 0


@pytest.mark.parametrize(
    "second",
    [
        Handling(1, 1, 9, 20),  # began a little too early
        Handling(1, 1, 2, 5),  # has ended before the one before it
    ],
)
def test_a_record_that_does_not_wait_for_the_one_before_is_out_of_order(second: Handling) -> None:
    assert disorders([Handling(1, 0, 0, 10), second]) == 1


def test_other_keys_need_not_wait() -> None:
    assert disorders([Handling(1, 0, 0, 10), Handling(2, 1, 2, 5), Handling(2, 0, 0, 2)]) == 0


def test_what_comes_again_after_a_crash_is_no_disorder() -> None:
    again = [one._replace(start_ns=one.start_ns + 100, end_ns=one.end_ns + 100) for one in IN_ORDER]

    assert disorders([*IN_ORDER, *again]) == 0


def test_a_repeat_does_not_hide_a_disorder() -> None:
    first_time = [Handling(1, 1, 0, 5), Handling(1, 0, 0, 10)]

    assert disorders([*first_time, Handling(1, 0, 20, 30), Handling(1, 1, 30, 40)]) == 1


def test_a_record_behind_a_lost_one_is_not_out_of_order() -> None:
    assert disorders([Handling(1, 0, 0, 10), Handling(1, 2, 5, 20)]) == 0


def test_losses_and_repeats_are_told_apart() -> None:
    stop = judge_stop([*IN_ORDER, IN_ORDER[0], IN_ORDER[0]], records=5)

    assert (stop.lost, stop.again) == (2, 2)


def test_a_repeat_does_not_make_up_for_a_loss() -> None:
    stop = judge_stop([IN_ORDER[0], IN_ORDER[0]], records=2)

    assert (stop.lost, stop.again) == (1, 1)


def test_more_records_than_were_published_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="3 records were handled, and 2 published"):
        judge_stop(IN_ORDER, records=2)


def test_a_rate_ends_with_the_last_record() -> None:
    rate = judge_rate(IN_ORDER, USED, window_ns=1_000, records=3)

    assert rate.per_s == pytest.approx(3 / 20e-9)
    assert rate.handled == 3


def test_a_rate_ends_with_its_window_if_there_is_more() -> None:
    rate = judge_rate(IN_ORDER, USED, window_ns=15, records=4)

    assert rate.per_s == pytest.approx(2 / 15e-9)
    assert rate.handled == 2


def test_a_consumer_that_handles_nothing_has_no_rate() -> None:
    with pytest.raises(ValueError, match="nothing was handled"):
        judge_rate([], USED, window_ns=1_000, records=4)
    with pytest.raises(ValueError, match="nothing was handled within"):
        judge_rate([Handling(1, 0, 0, 2_000)], USED, window_ns=1_000, records=4)


def test_processor_time_is_shared_by_what_was_handled_meanwhile() -> None:
    used = Used(10, 20, 0.000_004)

    rate = judge_rate([*IN_ORDER, Handling(2, 1, 10, 15)], used, window_ns=15, records=9)

    # Two of the four ended later than at 10 and not later than at 20.
    assert rate.cpu_us == pytest.approx(2.0)
    with pytest.raises(ValueError, match="while processor time was counted"):
        judge_rate(IN_ORDER, Used(30, 40, 1.0), window_ns=1_000, records=3)
