"""The records of a comparison: the same for all, and each key numbered from 0."""

from collections import Counter

from benchmarks.peers.workload import VALUE_BYTES, Load, key_of


def test_a_load_numbers_each_key_from_0() -> None:
    values = [value.split()[:2] for _, value in Load(records=7, keys=3, handler_us=5).values()]

    assert values == [
        [b"0", b"0"], [b"1", b"0"], [b"2", b"0"],
        [b"0", b"1"], [b"1", b"1"], [b"2", b"1"],
        [b"0", b"2"],
    ]  # fmt: skip


def test_a_record_says_its_key_twice() -> None:
    for key, value in Load(records=30, keys=12, handler_us=5).values():
        assert key == b"key-" + key_of(value)


def test_all_records_are_of_one_size() -> None:
    load = Load(records=2_000, keys=64, handler_us=2_000, slow_us=400_000)

    assert {len(value) for _, value in load.values()} == {VALUE_BYTES}


def test_a_third_of_the_keys_has_one_slow_record_in_the_middle() -> None:
    load = Load(records=20 * 6, keys=6, handler_us=2_000, slow_us=400_000)
    parts = [value.split() for _, value in load.values()]

    slow = [(int(key), int(number)) for key, number, took, *_ in parts if took == b"400000"]

    assert slow == [(0, 10), (3, 10)]
    assert Counter(part[3] for part in parts) == {b"quick": 118, b"slow": 2}
