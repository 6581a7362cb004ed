"""What every bus promises, together with the delivery loop over it.

One body, every adapter is a world (`bus_world.py`). Not here: what is particular to the memory log
(`tests/unit/bus/test_memory_log.py`) and the loop's parts (`tests/unit`).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from lab.domain.envelope import from_headers
from lab.domain.errors import Fenced, Indeterminate, Poison, TooLarge, Transient
from lab.history.calls import DrainedEntry, PausedEntry
from lab.history.pen import Pen
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters, Limiter
from lab.ports.bus import (
    MAIN_RECORD_BYTES,
    Ack,
    Consumer,
    DeadLetter,
    Delivery,
    Ordering,
    Outgoing,
    Publisher,
    Release,
    Retry,
    Settlement,
    StopReport,
    Unread,
    dead_letter_topic,
    record_bytes,
    retry_topic,
)
from lab.ports.store import Unit, UnitVerdict
from tests.contract.bus_world import (
    ACK,
    IN_EVERY_OUTAGE,
    IN_EVERY_WORLD,
    LIMITS,
    MS,
    WORLDS,
    BusWorld,
    Gate,
    Journal,
    S,
    in_world,
    keys_in,
    limits,
    outgoing,
    publish,
    settlements,
)
from tests.kit.entries import of_type, own_fields
from tests.kit.took import assert_took


@pytest.fixture(params=IN_EVERY_WORLD)
def world(request: pytest.FixtureRequest) -> Iterator[Any]:
    with WORLDS[request.param]() as made:
        yield made


# ---- records


@in_world
async def test_a_record_comes_back_as_it_was_published(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    headers = (("ce_id", b"1"), ("ünï-✓", "snö ☃".encode()), ("empty", b""), ("ünï-✓", b"twice"))
    empty = Outgoing("orders", b"k1", b"", headers)
    full = Outgoing("orders", b"k2", b"", (("ce_id", b"2"),))
    full = Outgoing("orders", b"k2", b"x" * (MAIN_RECORD_BYTES - record_bytes(full)), full.headers)

    await world.publisher().publish([empty, full])
    await world.start("m", journal.handler("m"))
    await world.until(lambda: len(journal.starts) == 2, "both records")

    found = {start.record.key: start.record for start in journal.starts}
    for sent in (empty, full):
        record = found[sent.key]
        assert (record.value, record.headers) == (sent.value, sent.headers)


@in_world
async def test_a_record_over_the_limit_is_refused_and_nothing_of_the_call_is_appended(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1, "orders.group.retry": 1})
    big = b"x" * MAIN_RECORD_BYTES
    with pytest.raises(TooLarge):
        await world.publisher().publish([outgoing("a"), outgoing("b", big)])
    assert await world.read("orders") == []

    parked = Outgoing("orders.group.retry", b"b", big, ())
    await world.publisher().publish([parked])
    assert [record.value for record in await world.read("orders.group.retry")] == [big]


@in_world
async def test_a_key_lies_in_the_partition_that_kafka_gives_it(world: BusWorld) -> None:
    await world.make_topics({"orders": 8})
    await publish(world, "21", "foobar", "a-little-bit-long-string", "abc")
    found = {record.key: record.partition for record in await world.read("orders")}
    # Utils.toPositive(Utils.murmur2(key)) % 8, with the hashes of Kafka's own UtilsTest.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"abc": 479470107}
    hashes[b"a-little-bit-long-string"] = -985981536
    assert found == {key: (value & 0x7FFFFFFF) % 8 for key, value in hashes.items()}


@in_world
async def test_a_cancelled_publish_is_never_reported_as_done_and_may_be_repeated(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    publisher = world.publisher()

    async def send() -> None:
        await publisher.publish([outgoing("a", b"1")])

    sending = asyncio.get_running_loop().create_task(send())
    await world.sleep_us(0)
    sending.cancel()
    with pytest.raises((asyncio.CancelledError, Indeterminate)):
        await sending
    before = len(await world.read("orders"))
    assert before <= 1
    await send()
    assert len(await world.read("orders")) == before + 1


# ---- order


@in_world
async def test_records_of_a_key_run_one_by_one_in_order_under_sixteen_workers(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    running: Counter[bytes] = Counter()
    overlaps: list[bytes] = []
    together_max = 0

    async def work(delivery: Delivery) -> Settlement:
        nonlocal together_max
        key = delivery.record.key
        running[key] += 1
        together_max = max(together_max, running.total())
        if running[key] > 1:
            overlaps.append(key)
        await world.sleep_us((delivery.record.offset * 7 % 5) * MS)
        running[key] -= 1
        return ACK

    await publish(world, *(f"key-{number % 40}" for number in range(400)))
    await world.start("m", journal.handler("m", work))
    await world.until(lambda: len(journal.starts) == 400 and not running.total(), "all handled")

    assert overlaps == []
    assert together_max == 16
    for key in {start.key for start in journal.starts}:
        offsets = [start.record.offset for start in journal.starts if start.key == key]
        assert offsets == sorted(offsets)


@in_world
async def test_other_keys_pass_a_slow_one_and_a_parked_one(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.key == b"slow":
            await gate.passed()
        if delivery.record.key == b"parked" and delivery.attempt == 1:
            return Retry(2 * S)
        return ACK

    await publish(world, "slow", "parked", "a", "slow", "b", "parked", "c")
    # Two workers: one is held by the slow key, none by the parked one.
    await world.start("m", journal.handler("m", work), limits=limits(workers=2))
    await world.until(lambda: {"a", "b", "c"} <= set(journal.seen()), "others pass")
    assert journal.seen().count("slow") == 1
    assert journal.seen().count("parked") == 1

    gate.open()
    await world.until(lambda: len(journal.starts) == 8, "the slow and the parked key go on")
    parked = [start for start in journal.starts if start.key == "parked"]
    assert [start.record.offset for start in parked] == [1, 1, 5]


@in_world
async def test_with_partition_order_a_partition_runs_one_by_one(world: BusWorld) -> None:
    await world.make_topics({"orders": 2})
    journal = Journal(world)
    running: Counter[int] = Counter()
    together_max = 0

    async def work(delivery: Delivery) -> Settlement:
        nonlocal together_max
        running[delivery.record.partition] += 1
        together_max = max(together_max, *running.values())
        await world.sleep_us(MS)
        running[delivery.record.partition] -= 1
        return ACK

    await publish(world, *(f"key-{number}" for number in range(40)))
    await world.start("m", journal.handler("m", work), limits=limits(ordering=Ordering.PARTITION))
    await world.until_committed("orders", 40)
    assert together_max == 1


@in_world
async def test_without_order_records_of_one_key_run_together(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    await publish(world, "k", "k", "k")
    await world.start("m", work, limits=limits(ordering=Ordering.NONE))
    await world.until(lambda: gate.waiting == 3, "all three run")
    gate.open()
    await world.until_committed("orders", 3)


@in_world
async def test_a_key_is_one_lane_over_the_topics_of_a_group(world: BusWorld) -> None:
    retry = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 4, retry: 4})
    gate = Gate()
    together_max = running = 0

    async def work(_delivery: Delivery) -> Settlement:
        nonlocal running, together_max
        running += 1
        together_max = max(together_max, running)
        await gate.passed()
        running -= 1
        return ACK

    await publish(world, "k")
    await publish(world, "k", topic=retry)
    await world.start("m", work, topics=["orders", retry])
    await world.until(lambda: gate.waiting == 1, "one of them runs")
    await world.sleep_us(100 * MS)
    gate.open()
    await world.until_committed("orders", 1)
    await world.until_committed(retry, 1)
    assert together_max == 1


# ---- groups and positions


@in_world
async def test_a_retry_has_its_turn_before_the_backlog_of_its_main_topic_is_done(
    world: BusWorld,
) -> None:
    backlog = 3_000
    alarm = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 4, alarm: 4})
    await publish(world, *map(str, range(backlog)))
    came: list[str] = []

    async def handle(delivery: Delivery) -> Settlement:
        came.append(delivery.record.topic)
        if len(came) == 1:
            await world.publisher().publish([Outgoing(alarm, b"late", b"", (("ce_id", b"late"),))])
        await world.sleep_us(20 * MS)
        return ACK

    await world.start("m", handle, topics=("orders", alarm))
    await world.until(lambda: len(came) == backlog + 1, "everything")

    # A client that empties the buffers of the main topic first brings it as the very last one.
    assert came.index(alarm) < backlog - LIMITS.max_in_flight


@in_world
async def test_partitions_with_a_backlog_take_turns(world: BusWorld) -> None:
    backlog, partitions = 800, 4
    await world.make_topics({"orders": partitions})
    await publish(world, *map(str, range(backlog)))
    came: list[int] = []

    async def handle(delivery: Delivery) -> Settlement:
        came.append(delivery.record.partition)
        return ACK

    await world.start("m", handle, limits=limits(workers=4, max_in_flight=8))
    await world.until(lambda: len(came) == backlog, "everything")

    # A client that empties one buffer after the other begins with two hundred of one partition.
    assert len(set(came[: backlog // partitions // 2])) == partitions


@in_world
async def test_retries_that_are_not_due_take_no_place_and_few_of_them_are_fetched(
    world: BusWorld,
) -> None:
    early, others = 40, 20
    alarm = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 1, alarm: 1})
    due_us = world.now_us() + 4 * S
    came: list[str] = []
    in_hand: list[int] = []

    async def handle(delivery: Delivery) -> Settlement:
        if delivery.record.topic == alarm and world.now_us() < due_us:
            return Retry(due_us - world.now_us(), counts=False, by_tier=True)
        came.append(delivery.record.topic)
        in_hand.append(member.subscription.in_flight)
        return ACK

    await publish(world, *map(str, range(early)), topic=alarm)
    member = await world.start(
        "m", handle, topics=("orders", alarm), limits=limits(workers=2, max_in_flight=4)
    )
    await world.until(lambda: member.subscription.in_flight > 4, "more wait than have a place")
    await publish(world, *(f"other-{number}" for number in range(others)))
    await world.until(lambda: len(came) == early + others, "everything")

    assert came == ["orders"] * others + [alarm] * early
    # Those that wait, one more batch of them, and the others.
    assert max(in_hand) <= 3 * 4


@in_world
async def test_what_fails_behind_a_retry_of_its_key_holds_up_no_other_key(world: BusWorld) -> None:
    alarm = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 1, alarm: 1})
    due_us = world.now_us() + 2 * S
    came: list[bytes] = []
    failed: list[bytes] = []

    async def handle(delivery: Delivery) -> Settlement:
        key = delivery.record.key
        if delivery.record.topic == alarm and (key != b"k" or world.now_us() < due_us):
            left_us = due_us - world.now_us()
            return Retry(left_us if key == b"k" else 60 * S, counts=False, by_tier=True)
        if delivery.record.topic == "orders" and key == b"k" and not failed:
            failed.append(key)
            return Retry(30 * S)
        came.append(key)
        return ACK

    await publish(world, "k", *(f"early-{number}" for number in range(6)), topic=alarm)
    member = await world.start(
        "m", handle, topics=("orders", alarm), limits=limits(workers=2, max_in_flight=4)
    )
    await world.until(lambda: member.subscription.in_flight > 4, "more wait than have a place")
    await publish(world, "k")
    await world.until(lambda: failed == [b"k"], "it failed once its turn had come")
    began_us = world.now_us()
    await publish(world, *(f"other-{number}" for number in range(5)))
    await world.until(lambda: came.count(b"k") < 2 and b"other-4" in came, "the others")

    assert world.now_us() - began_us < 20 * S


@in_world
async def test_retries_that_wait_for_something_else_hold_up_none_behind_them(
    world: BusWorld,
) -> None:
    alarm = retry_topic("orders", "group", 1)
    await world.make_topics({alarm: 1})
    came: list[bytes] = []

    async def handle(delivery: Delivery) -> Settlement:
        if delivery.record.key.startswith(b"throttled") and delivery.attempt == 1:
            return Retry(30 * S)
        came.append(delivery.record.key)
        return ACK

    await publish(world, *(f"throttled-{number}" for number in range(6)), topic=alarm)
    member = await world.start(
        "m", handle, topics=(alarm,), limits=limits(workers=2, max_in_flight=2)
    )
    await world.until(lambda: member.subscription.in_flight > 2, "more wait than have a place")
    began_us = world.now_us()
    await publish(world, "due", topic=alarm)
    await world.until(lambda: came == [b"due"], "it passes them")

    assert world.now_us() - began_us < 20 * S


@in_world
async def test_a_retry_that_is_released_leaves_its_place_to_others(world: BusWorld) -> None:
    alarm = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 1, alarm: 1})
    came: list[bytes] = []

    async def handle(delivery: Delivery) -> Settlement:
        if delivery.record.topic == alarm and not came:
            return Release("fenced")
        came.append(delivery.record.key)
        return ACK

    await publish(world, "released", topic=alarm)
    member = await world.start(
        "m", handle, topics=("orders", alarm), limits=limits(workers=1, max_in_flight=1)
    )
    await world.until(lambda: member.subscription.in_flight == 1, "it is held")
    await publish(world, "other")
    await world.until(lambda: len(came) == 2, "both")

    assert came == [b"other", b"released"]


@in_world
async def test_two_groups_both_get_everything(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journals = {name: Journal(world) for name in ("one", "two")}
    for name, journal in journals.items():
        await world.start(name, journal.handler(name), group=name)
    await publish(world, *(f"key-{number}" for number in range(50)))
    for name, journal in journals.items():
        await world.until_committed("orders", 50, name)
        assert sorted(journal.values()) == sorted(b"%d" % number for number in range(50))


@in_world
async def test_a_new_group_starts_where_it_says(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    early, late = Journal(world), Journal(world)
    await publish(world, "old")
    await world.start("e", early.handler("e"), group="early", unread=Unread.EARLIEST)
    member = await world.start("l", late.handler("l"), group="late", unread=Unread.LATEST)
    await world.until(lambda: member.subscription.epoch > 0, "the group is assigned")
    await publish(world, "new")
    await world.until(lambda: len(early.starts) == 2 and bool(late.starts), "both are served")
    assert early.seen() == ["old", "new"]
    assert late.seen() == ["new"]


@in_world
async def test_a_group_goes_on_where_it_committed(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    await publish(world, "a", "b")
    first = await world.start("m1", journal.handler("m1"))
    await world.until_committed("orders", 2)
    assert (await first.stop(S)).is_clean
    await publish(world, "c")
    await world.start("m2", journal.handler("m2"), unread=Unread.LATEST)
    await world.until(lambda: len(journal.starts) == 3, "the third record")
    assert journal.seen() == ["a", "b", "c"]


@in_world
async def test_redrive_reaches_only_its_group(world: BusWorld) -> None:
    redrive = retry_topic("orders", "one", 0)
    other = retry_topic("orders", "two", 0)
    await world.make_topics({"orders": 2, redrive: 2, other: 2})
    one, two = Journal(world), Journal(world)
    await world.start("one", one.handler("one"), group="one", topics=["orders", redrive])
    await world.start("two", two.handler("two"), group="two", topics=["orders", other])
    await publish(world, "k", topic=redrive)
    await publish(world, "last")
    await world.until(lambda: len(one.starts) == 2 and bool(two.starts), "both are served")
    assert two.seen() == ["last"]
    redriven = next(start for start in one.starts if start.key == "k")
    assert not redriven.starts_known, "it may have been started from its main topic"


# ---- crashes


@in_world
async def test_a_crash_before_the_ack_redelivers(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    await publish(world, "k")
    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: gate.waiting == 1, "the handler runs")
    first.kill()
    await world.start("m2", journal.handler("m2"))
    await world.until_committed("orders", 1)
    assert [start.member for start in journal.starts] == ["m1", "m2"]
    assert [start.starts_known for start in journal.starts][1] is False


@in_world
async def test_a_crash_between_ack_and_commit_redelivers(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    await publish(world, "a", "b", "c")
    first = await world.start("m1", journal.handler("m1"), limits=limits(commit_after_us=3_600 * S))
    await world.until(lambda: len(settlements(first)) == 3, "all acknowledged")
    first.kill()
    await world.start("m2", journal.handler("m2"))
    await world.until_committed("orders", 3)
    assert sorted(journal.values()) == sorted([b"0", b"1", b"2"] * 2)


@in_world
async def test_a_commit_never_passes_a_gap_and_follows_when_it_closes(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset == 2:
            await gate.passed()
        return ACK

    await publish(world, *(f"key-{number}" for number in range(10)))
    member = await world.start("m", journal.handler("m", work), limits=limits(commit_every=3))
    await world.until(lambda: len(settlements(member)) == 9, "all others are done")
    await world.until_committed("orders", 2)
    await world.sleep_us(300 * MS)
    assert await world.committed("orders") == {0: 2}
    gate.open()
    await world.until_committed("orders", 10)


@in_world
async def test_a_commit_is_due_after_so_many_settlements(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    await publish(world, "a", "b", "c", "d")
    await world.start(
        "m", journal.handler("m"), limits=limits(commit_every=4, commit_after_us=3_600 * S)
    )
    await world.until_committed("orders", 4)


@in_world
async def test_a_commit_under_another_epoch_is_refused(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    consumers: list[Consumer] = []

    def keep(consumer: Consumer) -> Consumer:
        consumers.append(consumer)
        return consumer

    member = await world.start("m", journal.handler("m"), wrap=keep)
    await world.until(lambda: bool(member.subscription.owned), "it is assigned")
    place = member.subscription.owned[0]
    for epoch in (member.subscription.epoch - 1, member.subscription.epoch + 1):
        with pytest.raises(Fenced):
            await consumers[0].commit({place: 7}, epoch)
    assert await world.committed("orders") == {0: 0}


@in_world
async def test_a_member_that_was_away_too_long_overwrites_nothing(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    await publish(world, "a", "b", "c")
    # It has settled, and not committed, when it is paused.
    first = await world.start(
        "m1", journal.handler("m1"), limits=limits(commit_after_us=2 * world.session_us)
    )
    await world.until(lambda: len(settlements(first)) == 3, "all acknowledged")
    first.pause()
    second = await world.start("m2", journal.handler("m2"))
    await publish(world, "d")
    await world.until_committed("orders", 4)
    first.resume()
    await world.until(lambda: first.subscription.stale > 0, "its commit is refused")
    assert await world.committed("orders") == {0: 4}
    await world.until(
        lambda: first.subscription.epoch == second.subscription.epoch, "it is a member again"
    )
    await publish(world, "e")
    await world.until_committed("orders", 5)
    assert len(journal.starts) == 8


@in_world
async def test_a_killed_member_loses_nothing_and_repeats_only_what_was_uncommitted(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    members = [await world.start(name, journal.at_work(name)) for name in ("m1", "m2")]
    await world.until(lambda: all(m.subscription.owned for m in members), "both own something")
    await publish(world, *(f"key-{number}" for number in range(300)))
    await world.until(lambda: len(journal.starts) >= 150, "half of it")
    members[0].kill()
    killed_us = world.now_us()
    before = await world.committed("orders")
    await world.until_committed("orders", 300)

    assert set(journal.values()) == {b"%d" % number for number in range(300)}
    counts = Counter(journal.places())
    repeated = [place for place, count in counts.items() if count > 1]
    assert repeated
    assert all(offset >= before[partition] for _topic, partition, offset in repeated)
    assert not [s for s in journal.starts if s.member == "m1" and s.at_us > killed_us]
    assert world.now_us() - killed_us >= world.session_us / 2


# ---- settling


@in_world
async def test_a_retry_never_starts_early_and_its_attempts_grow(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.key == b"k" and delivery.attempt < 4:
            return Retry(delivery.attempt * 200 * MS)
        return ACK

    await publish(world, "k", "other")
    await world.start("m", journal.handler("m", work))
    await world.until_committed("orders", 2)
    starts = [start for start in journal.starts if start.key == "k"]
    assert [start.attempt for start in starts] == [1, 2, 3, 4]
    gaps = [b.at_us - a.at_us for a, b in pairwise(starts)]
    assert all(gap >= (n + 1) * 200 * MS for n, gap in enumerate(gaps)), gaps
    assert [start.starts_known for start in starts[1:]] == [False] * 3


@in_world
async def test_a_release_and_an_uncounted_retry_make_no_attempt(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    answers: list[Settlement] = [
        Release("down", 100 * MS),
        Release("fenced"),
        Retry(10 * MS, counts=False),
        Retry(10 * MS),
        ACK,
    ]

    async def work(delivery: Delivery) -> Settlement:
        return answers.pop(0) if delivery.record.key == b"k" else ACK

    await publish(world, "k", "k")
    member = await world.start("m", journal.handler("m", work), limits=limits(workers=1))
    answers.append(ACK)
    await world.until_committed("orders", 2)
    assert [(s.record.offset, s.attempt) for s in journal.starts] == [
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 2),
        (1, 1),
    ]
    names = [name for _event, name in settlements(member)]
    assert names == ["release", "release", "retry", "retry", "ack", "ack"]


@in_world
async def test_a_release_pauses_the_whole_subscription(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset == 0 and len(journal.starts) == 1:
            return Release("down", S)
        return ACK

    member = await world.start("m", journal.handler("m", work), limits=limits(workers=1))
    await publish(world, "a", "b", "c")
    await world.until_committed("orders", 3)
    first, *rest = journal.starts
    assert min(start.at_us for start in rest) >= first.at_us + S
    pauses = of_type(member.entries, PausedEntry)
    assert [(paused.why, paused.for_us) for paused in pauses] == [("down", S)]


@in_world
async def test_a_shorter_pause_does_not_end_a_longer_one(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if len(journal.starts) > 2:
            return ACK
        is_first = delivery.record.key == b"a"
        await world.sleep_us(0 if is_first else 100 * MS)
        return Release("down", 3 * S if is_first else 500 * MS)

    await publish(world, "a", "b")
    await world.start("m", journal.handler("m", work))
    await world.until_committed("orders", 2)
    assert len(journal.starts) == 4
    assert min(start.at_us for start in journal.starts[2:]) >= journal.starts[0].at_us + 3 * S


@in_world
async def test_a_pause_survives_a_rebalance(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    released_us = 0

    async def work(_delivery: Delivery) -> Settlement:
        nonlocal released_us
        if not released_us:
            released_us = world.now_us()
            return Release("down", 4 * S)
        return ACK

    first = await world.start("m1", journal.handler("m1", work))
    await publish(world, *(f"key-{number}" for number in range(40)))
    await world.until(lambda: released_us > 0, "the release")
    epoch = first.subscription.epoch
    second = await world.start("m2", journal.handler("m2"))
    await world.until(
        lambda: first.subscription.epoch > epoch and bool(second.subscription.owned),
        "the rebalance",
    )
    assert first.subscription.owned, "the paused member must own something for this to mean much"
    await world.sleep_us(200 * MS)
    assert first.subscription.in_flight == 0, "nothing is fetched either"
    await world.until_committed("orders", 40)
    again = [start for start in journal.starts if start.member == "m1"][1:]
    early = [s for s in again if s.epoch > epoch and s.at_us < released_us + 4 * S]
    assert early == []
    assert [s for s in again if s.epoch > epoch]


@in_world
async def test_the_bounds_hold_behind_a_stuck_record(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()
    seen = [0, 0]

    async def work(delivery: Delivery) -> Settlement:
        subscription = member.subscription
        seen[0] = max(seen[0], subscription.in_flight)
        seen[1] = max(seen[1], subscription.uncommitted_max)
        if delivery.record.offset == 0:
            await gate.passed()
        else:
            await world.sleep_us(MS)
        return ACK

    await publish(world, *(f"key-{number}" for number in range(200)))
    member = await world.start(
        "m",
        journal.handler("m", work),
        limits=limits(workers=4, max_in_flight=10, max_uncommitted=20),
    )
    await world.until(lambda: member.subscription.uncommitted_max > 10, "the window fills")
    await world.sleep_us(500 * MS)
    assert len(journal.starts) <= 20
    gate.open()
    await world.until_committed("orders", 200)
    assert seen[0] <= 10
    assert 10 < seen[1] <= 20
    assert len(journal.starts) == 200


@in_world
async def test_a_stale_settlement_is_ignored(world: BusWorld) -> None:
    await world.make_topics({"orders": 2})
    journal = Journal(world)
    old, new = Gate(), Gate()

    async def work(delivery: Delivery) -> Settlement:
        await (old if delivery.epoch == epoch else new).passed()
        return ACK

    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: first.subscription.epoch > 0, "the first member is assigned")
    epoch = first.subscription.epoch
    await publish(world, "k")
    await world.until(lambda: old.waiting == 1, "the handler runs")
    second = await world.start("m2", journal.handler("m2", work))
    # It outlives the time that its member may take to give its partitions up.
    await world.until(
        lambda: first.subscription.epoch > epoch and bool(second.subscription.owned),
        "the rebalance",
    )
    old.open()
    await world.until(lambda: first.subscription.stale == 1, "the stale settlement")
    await world.sleep_us(300 * MS)
    assert sum((await world.committed("orders")).values()) == 0
    assert settlements(first)[0] == ("0", "stale")
    new.open()
    await world.until_committed("orders", 1)
    assert len(journal.starts) == 2


# ---- dead letters


class _NoStore:
    """Stands for the order store behind the dead-letter link: commits anything."""

    async def commit(self, _unit: Unit) -> UnitVerdict:
        return UnitVerdict.COMMITTED


class _Failing(Publisher):
    """Fails so many times before it publishes."""

    def __init__(self, inner: Publisher, failures: int) -> None:
        self._inner = inner
        self.left = failures

    async def publish(self, records: Any) -> None:
        if self.left:
            self.left -= 1
            raise Transient("the queue cannot be reached")
        await self._inner.publish(records)


def make_dead_letters(world: BusWorld, journal: Journal, publisher: Publisher) -> DeadLetters:
    """The link that buries, over one that decodes."""

    async def decode(delivery: Delivery) -> Settlement:
        journal.note("m", delivery)
        try:
            from_headers(delivery.record.headers, delivery.record.value)
        except Poison as poison:
            return DeadLetter("poison", "Poison", str(poison))
        return ACK

    async def on_dead(_order_id: str, _event_type: str) -> Unit:
        return Unit()

    return DeadLetters(
        decode,
        queue=DeadLetterQueue(
            publisher=publisher, group="group", pen=Pen(process="m", now=world.now_us)
        ),
        store=_NoStore(),
        on_dead=on_dead,
        reads=("OrderCreated",),
        limiter=Limiter(in_a_row=10, share_percent=20, pause_us=S, now=world.now_us),
        again_us=100 * MS,
        pen=Pen(process="m", now=world.now_us),
    )


def sound(key: str, value: bytes) -> Outgoing:
    """A record that can be decoded."""
    names = ("ce_source", "ce_subject", "ce_correlationid", "ce_causationid", "traceparent")
    headers = tuple((name, b"x") for name in names)
    headers += (("ce_sequence", b"1"), ("ce_time", b"2025-01-01T00:00:00Z"))
    return outgoing(key, value, headers=headers)


@in_world
async def test_an_undecodable_record_is_dead_lettered_byte_for_byte_and_others_flow(
    world: BusWorld,
) -> None:
    dlq = dead_letter_topic("orders", "group")
    await world.make_topics({"orders": 1, dlq: 1})
    journal = Journal(world)
    bad = Outgoing(
        "orders", b"\xff\x00k", bytes(range(256)), (("ce_id", b"\xff"), ("x", b"\x00\xfe"))
    )
    await world.publisher().publish([sound("a", b"1"), bad, sound("b", b"2")])
    await world.start("m", make_dead_letters(world, journal, world.publisher()))
    await world.until_committed("orders", 3)
    (letter,) = await world.read(dlq)
    assert (letter.key, letter.value) == (bad.key, bad.value)
    assert letter.headers[: len(bad.headers)] == bad.headers
    assert len(journal.starts) == 3


@in_world
async def test_a_dead_letter_that_cannot_be_published_blocks_and_is_not_lost(
    world: BusWorld,
) -> None:
    dlq = dead_letter_topic("orders", "group")
    await world.make_topics({"orders": 1, dlq: 1})
    journal = Journal(world)
    publisher = _Failing(world.publisher(), 1_000_000)
    bad = Outgoing("orders", b"bad", b"?", (("ce_id", b"1"),))
    await world.publisher().publish([bad, sound("a", b"2"), sound("bad", b"3")])
    await world.start("m", make_dead_letters(world, journal, publisher))
    await world.until(lambda: publisher.left < 1_000_000 - 3, "a few tries")
    assert b"2" in journal.values()
    assert b"3" not in journal.values(), "its key waits behind it"
    assert sum((await world.committed("orders")).values()) == 0
    publisher.left = 0
    await world.until_committed("orders", 3)
    assert [letter.value for letter in await world.read(dlq)] == [b"?"]


@in_world
async def test_a_dead_letter_that_nobody_buries_is_tried_again_at_the_head_of_its_lane(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset == 0:
            return DeadLetter("poison", "Poison", "")
        return ACK

    await publish(world, "k", "k", "other")
    await world.start("m", journal.handler("m", work))
    await world.until(lambda: journal.seen().count("k") == 4, "it comes again and again")
    assert [s.record.offset for s in journal.starts if s.key == "k"] == [0] * 4
    assert "other" in journal.seen()
    await world.sleep_us(200 * MS)
    assert sum((await world.committed("orders")).values()) == 0


# ---- bugs


class Odd(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("kind", [Odd, RuntimeError])
def test_an_exception_out_of_the_chain_does_not_end_the_loop(
    world: BusWorld, kind: type[BaseException]
) -> None:
    async def case() -> None:
        await world.make_topics({"orders": 1})
        journal = Journal(world)
        buried: list[DeadLetter] = []

        async def work(delivery: Delivery) -> Settlement:
            if delivery.record.key == b"bad":
                raise kind("a bug")
            return ACK

        async def bury(_delivery: Delivery, dead: DeadLetter) -> Settlement:
            buried.append(dead)
            return Ack("dead")

        await publish(world, "bad", "good", "bad")
        await world.start("m", journal.handler("m", work), bury=bury, limits=limits(workers=1))
        await world.until_committed("orders", 3)
        bad = [(s.record.offset, s.attempt) for s in journal.starts if s.key == "bad"]
        assert bad == [(0, 1), (0, 2), (0, 3), (2, 1), (2, 2), (2, 3)]
        assert buried == [DeadLetter("exhausted", kind.__name__, "a bug")] * 2

    world.run(case())


@in_world
async def test_a_settlement_that_is_none_counts_as_a_bug(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    wrong: Any = None

    async def work(delivery: Delivery) -> Settlement:
        return ACK if delivery.attempt == 2 else wrong

    await publish(world, "k")
    await world.start("m", journal.handler("m", work), limits=limits(workers=1))
    await world.until_committed("orders", 1)
    assert [start.attempt for start in journal.starts] == [1, 2]


@in_world
async def test_a_cancellation_out_of_a_handler_releases_the_delivery(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(_delivery: Delivery) -> Settlement:
        if len(journal.starts) == 1:
            raise asyncio.CancelledError
        if len(journal.starts) == 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await world.sleep_us(S)
        return ACK

    await publish(world, "k", "k")
    member = await world.start("m", journal.handler("m", work), limits=limits(workers=1))
    await world.until_committed("orders", 2)
    assert [start.attempt for start in journal.starts] == [1, 1, 1, 1]
    names = [name for _event, name in settlements(member)]
    assert names == ["release", "release", "ack", "ack"]


# ---- rebalances


@in_world
async def test_a_second_member_takes_its_share_and_nothing_is_lost(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    first = await world.start("m1", journal.at_work("m1"))
    await publish(world, *(f"key-{number}" for number in range(400)))
    await world.until(lambda: len(journal.starts) >= 100, "the first is at work")
    before = await world.committed("orders")
    second = await world.start("m2", journal.at_work("m2"))
    await world.until(lambda: bool(second.subscription.owned), "the second one owns something")
    await world.until(lambda: bool(first.subscription.owned), "and so does the first")
    owned = [*first.subscription.owned, *second.subscription.owned]
    assert sorted(owned) == [("orders", partition) for partition in range(4)]
    assert first.subscription.epoch == second.subscription.epoch
    await publish(world, *(f"key-{number}" for number in range(100)))
    await world.until_committed("orders", 500)

    assert set(journal.values()) == {b"%d" % number for number in range(400)}
    assert {start.member for start in journal.starts} == {"m1", "m2"}
    repeated = [place for place, count in Counter(journal.places()).items() if count > 1]
    assert all(offset >= before[partition] for _topic, partition, offset in repeated)


@in_world
async def test_a_member_that_leaves_hands_over_at_once(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    members = [await world.start(name, journal.handler(name)) for name in ("m1", "m2")]
    await world.until(lambda: all(m.subscription.owned for m in members), "both own something")
    began_us = world.now_us()
    assert (await members[0].stop(S)).is_clean
    await world.until(lambda: len(members[1].subscription.owned) == 4, "the other owns it all")
    assert_took(world.now_us() - began_us, most_us=world.session_us)


@in_world
async def test_members_that_all_leave_at_once_lose_nothing_to_the_one_that_comes_after(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    names = ("m1", "m2", "m3")
    members = [await world.start(name, journal.at_work(name)) for name in names]
    await publish(world, *(f"key-{number}" for number in range(300)))
    await world.until(lambda: len(journal.starts) >= 60, "they are at work")
    stops = [asyncio.ensure_future(member.stop(5 * S)) for member in members]
    assert all([(await stop).is_clean for stop in stops])
    before = await world.committed("orders")
    assert sum(before.values()) < 300
    await world.start("m4", journal.at_work("m4"))
    await world.until_committed("orders", 300)

    assert set(journal.values()) == {b"%d" % number for number in range(300)}
    # Who leaves cleanly has committed what it did: nothing is done again.
    assert max(Counter(journal.places()).values()) == 1


@in_world
async def test_a_publisher_that_is_left_in_the_middle_keeps_what_it_acknowledged(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 4})
    publisher = world.publisher()
    acknowledged: list[bytes] = []

    async def send(number: int) -> None:
        value = b"%d" % number
        await publisher.publish((Outgoing("orders", b"key", value, ()),))
        acknowledged.append(value)

    sending = [asyncio.ensure_future(send(number)) for number in range(50)]
    await world.until(lambda: len(acknowledged) >= 10, "some are acknowledged")
    for one in sending:
        one.cancel()
    await asyncio.wait(sending)
    found = [record.value for record in await world.read("orders")]
    assert set(acknowledged) <= set(found)


# ---- outages


@pytest.mark.alone
@pytest.mark.parametrize("world", IN_EVERY_OUTAGE, indirect=True)
@in_world
async def test_an_outage_costs_bounded_waits_and_no_record(world: BusWorld) -> None:
    await world.make_topics({"orders": 2})
    journal = Journal(world)
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    member = await world.start("m", journal.handler("m", work))
    await publish(world, "a", "b")
    await world.until(lambda: gate.waiting == 2, "both run")
    await world.set_broker(is_up=False)
    began_us = world.now_us()
    with pytest.raises((Transient, Indeterminate)):
        await publish(world, "c")
    assert_took(world.now_us() - began_us, most_us=20 * S)
    gate.open()
    await world.until(lambda: len(settlements(member)) == 2, "they are settled all the same")
    await world.sleep_us(S)
    await world.set_broker(is_up=True)
    # Whether "c" is appended after all is for nobody to know, nor when.
    await world.until_committed("orders", 2, or_more=True)
    await publish(world, "d")
    await world.until(lambda: {"a", "b", "d"} <= set(journal.seen()), "all but c is handled")
    await world.until_committed("orders", 3, or_more=True)


@pytest.mark.alone
@in_world
async def test_a_stop_during_an_outage_is_bounded_and_says_that_it_is_not_clean(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    await publish(world, "a")
    member = await world.start(
        "m1", journal.handler("m1"), limits=limits(commit_after_us=3_600 * S)
    )
    await world.until(lambda: len(settlements(member)) == 1, "it is acknowledged")
    await world.set_broker(is_up=False)
    began_us = world.now_us()
    report = await member.stop(S)
    assert_took(world.now_us() - began_us, most_us=20 * S)
    assert not report.is_committed
    assert not report.is_clean
    await world.set_broker(is_up=True)
    await world.start("m2", journal.handler("m2"))
    await world.until_committed("orders", 1)
    assert journal.seen() == ["a", "a"]


# ---- stopping


@in_world
async def test_nothing_that_was_started_starts_again_after_a_clean_stop(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset % 7 == 0 and delivery.attempt == 1:
            return Retry(20 * MS)
        await world.sleep_us((delivery.record.offset % 9) * MS)
        return ACK

    await publish(world, *(f"key-{number % 60}" for number in range(400)))
    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: len(journal.starts) >= 120, "it is at work")
    report = await first.stop(2 * S)
    assert report.is_clean
    assert report.drained
    started = {start.place for start in journal.starts}
    assert len(started) < 400
    await world.start("m2", journal.handler("m2", work))
    await world.until_committed("orders", 400)
    again = {start.place for start in journal.starts if start.member == "m2"}
    assert not started & again
    assert len(started | again) == 400


@in_world
async def test_a_stop_leaves_no_gap_below_done_work(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset == 0:
            await gate.passed()
        return ACK

    # 1 waits behind 0; 2 is done; 3 and 4 wait behind 0 too, above everything that was started.
    await publish(world, "slow", "slow", "fast", "slow", "slow")
    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: len(settlements(first)) == 1, "the fast one is done")
    asyncio.get_running_loop().call_later(0.1, gate.open)
    report = await first.stop(2 * S)
    assert report == StopReport(drained=("0", "1"))
    assert [s.record.offset for s in journal.starts] == [0, 2, 1]
    assert await world.committed("orders") == {0: 3}
    await world.start("m2", journal.handler("m2"))
    await world.until_committed("orders", 5)
    assert [s.record.offset for s in journal.starts] == [0, 2, 1, 3, 4]


@in_world
async def test_a_handler_that_outlives_the_grace_is_cancelled_and_its_record_given_back(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    cancelled: list[bytes] = []

    async def work(delivery: Delivery) -> Settlement:
        try:
            await world.sleep_us(3_600 * S)
        except asyncio.CancelledError:
            cancelled.append(delivery.record.value)
            raise
        return ACK

    await publish(world, "long")
    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: bool(journal.starts), "it runs")
    began_us = world.now_us()
    report = await first.stop(500 * MS)
    assert_took(world.now_us() - began_us, least_us=500 * MS, most_us=5 * S)
    assert report.cancelled == ("0",)
    assert not report.is_clean
    assert cancelled == [b"0"]
    assert settlements(first) == [("0", "release")]
    (drained,) = of_type(first.entries, DrainedEntry)
    assert own_fields(drained) == ("group", 0, 1, 0)
    await world.start("m2", journal.handler("m2"))
    await world.until_committed("orders", 1)


@in_world
async def test_a_handler_that_ignores_its_cancellation_is_left_behind(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    gate = Gate()
    runs = 0

    async def work(_delivery: Delivery) -> Settlement:
        nonlocal runs
        runs += 1
        while not gate.is_open:
            try:
                await gate.passed()
            except asyncio.CancelledError:
                continue
        return ACK

    await publish(world, "deaf", "deaf")
    member = await world.start("m", work)
    await world.until(lambda: runs == 1, "it runs")
    began_us = world.now_us()
    report = await member.stop(100 * MS)
    assert_took(world.now_us() - began_us, most_us=5 * S)
    assert report.abandoned == ("0",)
    gate.open()
    await world.sleep_us(100 * MS)
    assert runs == 1
    assert sum((await world.committed("orders")).values()) == 0


@in_world
async def test_a_parked_delivery_is_finished_within_the_grace_of_a_stop(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        return ACK if delivery.attempt == 2 else Retry(300 * MS)

    await publish(world, "k")
    member = await world.start("m", journal.handler("m", work))
    await world.until(lambda: len(journal.starts) == 1, "it failed once")
    report = await member.stop(2 * S)
    assert report == StopReport(drained=("0",))
    assert await world.committed("orders") == {0: 1}


@in_world
async def test_a_parked_delivery_that_is_due_too_late_is_moved_to_the_retry_path(
    world: BusWorld,
) -> None:
    retry = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 1, retry: 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        return Retry(60 * S) if delivery.record.offset == 0 else ACK

    async def move(delivery: Delivery) -> Settlement:
        record = delivery.record
        await world.publisher().publish([Outgoing(retry, record.key, record.value, record.headers)])
        return Ack("parked")

    # Behind the parked one: 1 is below 2, which is done; so it is handled once 0 has moved.
    await publish(world, "k", "k", "done")
    member = await world.start("m", journal.handler("m", work), move=move)
    await world.until(lambda: len(settlements(member)) == 2, "one is parked, one is done")
    report = await member.stop(2 * S)
    assert report.is_clean
    assert report.drained == ("0", "1")
    assert [record.value for record in await world.read(retry)] == [b"0"]
    assert [start.record.offset for start in journal.starts] == [0, 2, 1]
    assert await world.committed("orders") == {0: 3}


@in_world
async def test_at_the_end_of_the_grace_what_is_started_or_below_it_is_moved_in_its_order(
    world: BusWorld,
) -> None:
    retry = retry_topic("orders", "group", 1)
    await world.make_topics({"orders": 1, retry: 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.key == b"done":
            return ACK
        if delivery.record.key == b"b" and delivery.attempt == 1:
            return Retry(10 * MS)
        await world.sleep_us(3_600 * S)
        return ACK

    async def move(delivery: Delivery) -> Settlement:
        record = delivery.record
        await world.publisher().publish([Outgoing(retry, record.key, record.value, record.headers)])
        return Ack("parked")

    # 1 runs for the second time; 2 runs, and 3 behind it lies below 4, which is done.
    await publish(world, "done", "b", "a", "a", "done")
    member = await world.start(
        "m", journal.handler("m", work), move=move, limits=limits(workers=2, max_in_flight=8)
    )
    await world.until(lambda: len(journal.starts) >= 4, "both workers are busy")
    report = await member.stop(500 * MS)
    assert report.abandoned == ()
    assert not report.is_clean
    moved = [record.value for record in await world.read(retry)]
    assert sorted(moved) == [b"1", b"2", b"3"]
    assert moved.index(b"2") < moved.index(b"3")
    assert sorted(report.cancelled) == ["1", "2"]
    assert await world.committed("orders") == {0: 5}


@in_world
async def test_a_parked_delivery_that_cannot_be_moved_is_abandoned_with_its_key(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(delivery: Delivery) -> Settlement:
        return Retry(60 * S) if delivery.record.offset == 0 else ACK

    async def move(_delivery: Delivery) -> Settlement:
        raise Transient("the retry topic cannot be reached")

    await publish(world, "k", "k", "done")
    member = await world.start("m", journal.handler("m", work), move=move)
    await world.until(lambda: len(settlements(member)) == 2, "one is parked, one is done")
    report = await member.stop(500 * MS)
    assert report.abandoned == ("0", "1")
    assert not report.is_clean
    assert [start.record.offset for start in journal.starts] == [0, 2]
    assert sum((await world.committed("orders")).values()) == 0


@in_world
async def test_a_move_that_fails_is_tried_again_as_long_as_the_stop_has_time(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    tries: list[bytes] = []

    async def work(delivery: Delivery) -> Settlement:
        return Retry(60 * S) if delivery.record.offset == 0 else ACK

    async def move(delivery: Delivery) -> Settlement:
        tries.append(delivery.record.value)
        match len(tries):
            case 1:
                return Retry(S, counts=False)
            case 2:
                return Release("down", 5 * S)
            case _:
                return Ack("parked")

    await publish(world, "k", "done")
    member = await world.start("m", journal.handler("m", work), move=move)
    await world.until(lambda: len(settlements(member)) == 2, "one is parked, one is done")
    report = await member.stop(2 * S)
    assert report.is_clean
    assert tries == [b"0"] * 3
    assert await world.committed("orders") == {0: 2}


@in_world
async def test_what_is_moved_is_told_how_long_its_next_attempt_had_to_wait(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    waits: list[int] = []

    async def work(delivery: Delivery) -> Settlement:
        return Retry(60 * S) if delivery.record.offset == 0 else ACK

    async def move(delivery: Delivery) -> Settlement:
        waits.append(delivery.wait_us)
        return Ack("parked") if len(waits) == 2 else Retry(S, counts=False)

    await publish(world, "k", "done")
    member = await world.start("m", journal.handler("m", work), move=move)
    await world.until(lambda: len(settlements(member)) == 2, "one is parked, one is done")
    assert (await member.stop(2 * S)).is_clean
    first, second = waits
    assert 55 * S < second < first <= 60 * S


@in_world
async def test_a_stop_while_the_subscription_is_paused_moves_what_it_owes(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    moved: list[bytes] = []

    async def work(delivery: Delivery) -> Settlement:
        return Release("down", 60 * S) if delivery.record.offset == 1 else ACK

    async def move(delivery: Delivery) -> Settlement:
        moved.append(delivery.record.value)
        return Ack("parked")

    await publish(world, "a", "b", "c", "d")
    member = await world.start("m", journal.handler("m", work), move=move, limits=limits(workers=1))
    await world.until(lambda: len(settlements(member)) == 2, "it is paused")
    report = await member.stop(S)
    assert report.is_clean
    assert moved == [b"1"]
    assert await world.committed("orders") == {0: 2}
    assert journal.values() == [b"0", b"1"], "a paused subscription starts nothing, stop or not"


@in_world
async def test_a_stop_during_a_rebalance_is_clean(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    keys = [key for partition in range(4) for key in keys_in(partition, 4, 3)]
    await publish(world, *keys, *keys)
    first = await world.start(
        "m1", journal.handler("m1", work), limits=limits(workers=4, revoke_us=2 * S)
    )
    await world.until(lambda: gate.waiting == 4, "four run")
    second = await world.start("m2", journal.handler("m2"))
    await world.sleep_us(200 * MS)  # The first one is asked to give up, and waits for its handlers.
    asyncio.get_running_loop().call_later(0.3, gate.open)
    report = await first.stop(3 * S)
    assert report.is_clean
    await world.until(lambda: len(second.subscription.owned) == 4, "the second owns it all")
    await world.until_committed("orders", len(keys) * 2)
    assert max(Counter(journal.places()).values()) == 1
    assert len(journal.starts) == len(keys) * 2

    await first.start_again()
    await world.until(lambda: bool(first.subscription.owned), "it comes back")
    await publish(world, *keys)
    await world.until_committed("orders", len(keys) * 3)
    assert {s.member for s in journal.starts[len(keys) * 2 :]} == {"m1", "m2"}


@in_world
async def test_a_rebalance_during_a_stop_does_not_undo_it(world: BusWorld) -> None:
    await world.make_topics({"orders": 4})
    journal = Journal(world)
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    keys = [key for partition in range(4) for key in keys_in(partition, 4, 3)]
    await publish(world, *keys)
    first = await world.start(
        "m1", journal.handler("m1", work), limits=limits(workers=4, revoke_us=2 * S)
    )
    await world.until(lambda: gate.waiting == 4, "four run")
    loop = asyncio.get_running_loop()
    starting = loop.create_task(_start_later(world, journal))
    loop.call_later(0.6, gate.open)
    report = await first.stop(3 * S)
    second = await starting
    assert report.is_clean
    await world.until(lambda: len(second.subscription.owned) == 4, "the second owns it all")
    await world.until_committed("orders", len(keys))
    assert max(Counter(journal.places()).values()) == 1


@in_world
async def test_a_stop_that_loses_its_partitions_on_the_way_is_over_before(world: BusWorld) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(_delivery: Delivery) -> Settlement:
        await gate.passed()
        return ACK

    await publish(world, "slow", "slow")
    first = await world.start("m1", journal.handler("m1", work))
    await world.until(lambda: gate.waiting == 1, "it runs")
    # The rebalance does not wait as long as the stop does: what runs is cancelled, not lost.
    starting = asyncio.get_running_loop().create_task(_start_later(world, journal))
    asyncio.get_running_loop().call_later(1.5, gate.open)
    report = await first.stop(5 * S)
    assert (report.cancelled, report.abandoned) == (("0",), ())
    assert not report.is_clean
    assert settlements(first) == [("0", "release")]
    await starting
    await world.until_committed("orders", 2)
    assert journal.values() == [b"0", b"0", b"1"]


async def _start_later(world: BusWorld, journal: Journal) -> Any:
    await world.sleep_us(100 * MS)
    return await world.start("m2", journal.handler("m2"))


@in_world
async def test_a_subscription_may_be_stopped_twice_before_its_start_and_start_again(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 2})
    journal = Journal(world)
    member = await world.start("m", journal.handler("m"), is_started=False)
    assert await member.stop(S) == StopReport()
    await member.start_again()
    with pytest.raises(RuntimeError):
        await member.start_again()
    await publish(world, "a")
    await world.until_committed("orders", 1)
    first = await member.stop(S)
    assert first.is_clean
    assert await member.stop(S) == first

    await publish(world, "b")
    await member.start_again()
    await world.until_committed("orders", 2)
    assert journal.seen() == ["a", "b"]
    assert (await member.stop(S)).is_clean


@in_world
async def test_a_second_stop_waits_for_the_first_and_an_abort_cuts_it_short(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)

    async def work(_delivery: Delivery) -> Settlement:
        await world.sleep_us(3_600 * S)
        return ACK

    await publish(world, "long")
    member = await world.start("m", journal.handler("m", work))
    await world.until(lambda: bool(journal.starts), "it runs")
    began_us = world.now_us()
    stopping = asyncio.get_running_loop().create_task(member.stop(600 * S))
    await world.sleep_us(200 * MS)
    second = await member.abort()
    assert_took(world.now_us() - began_us, most_us=5 * S)
    assert await stopping == second
    assert second.cancelled == ("0",)


@in_world
async def test_an_abort_starts_nothing_and_commits_only_the_settled_prefix(
    world: BusWorld,
) -> None:
    await world.make_topics({"orders": 1})
    journal = Journal(world)
    gate = Gate()

    async def work(delivery: Delivery) -> Settlement:
        if delivery.record.offset == 1:
            await gate.passed()
        return ACK

    await publish(world, "a", "slow", "b", "slow")
    member = await world.start(
        "m", journal.handler("m", work), limits=limits(commit_after_us=3_600 * S)
    )
    await world.until(lambda: len(settlements(member)) == 2, "the fast ones are done")
    report = await member.abort()
    assert report.cancelled == ("1",)
    assert await world.committed("orders") == {0: 1}
    assert [start.record.offset for start in journal.starts] == [0, 1, 2]
