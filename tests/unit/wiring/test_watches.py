"""What looks on at a process: calls to the broker that fail, and partitions that go no further."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from lab.domain.errors import Fenced, LabError, TooLarge, Transient
from lab.ports.bus import Consumer, Listener, Outgoing, Publisher, Record, TopicPartition
from lab.runtime.virtual_loop import Scheduler, sleep_us
from lab.wiring.process.broker_watch import QUIET_S, BrokerWatch
from lab.wiring.process.progress_watch import LOOK_US, STUCK_US, ProgressWatch
from tests.kit.chain_parts import Hand, make_record

PLACE = TopicPartition("orders", 0)
S = 1_000_000


class Script(Consumer):
    """A consumer whose calls do what they are told, one after the other."""

    def __init__(self, *steps: LabError | list[Record]) -> None:
        self._steps = list(steps)
        self.listener: Listener | None = None

    def _next(self) -> list[Record]:
        step = self._steps.pop(0)
        if isinstance(step, LabError):
            raise step
        return step

    async def join(self, topics: Sequence[str], listener: Listener) -> None:  # noqa: ARG002 - the port's shape
        self.listener = listener
        self._next()

    async def poll(self, max_records: int) -> list[Record]:  # noqa: ARG002 - the port's shape
        return self._next()

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:  # noqa: ARG002 - the port's shape
        self._next()

    def wake(self) -> None: ...
    def pause(self, partitions: Sequence[TopicPartition]) -> None: ...
    def resume(self, partitions: Sequence[TopicPartition]) -> None: ...
    async def leave(self) -> None: ...


class Deaf(Listener):
    """Hears of changes, does nothing."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None: ...
    async def on_assigned(self, epoch: int, ends: Mapping[TopicPartition, int]) -> None: ...


class Onlooker:
    """A watch, and what it has told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.counted: list[str] = []
        self.watch = BrokerWatch(
            "payment",
            tell=lambda _, sentence: self.said.append(sentence),
            count=self.counted.append,
        )


def run(main: Any) -> None:
    scheduler = Scheduler()
    scheduler.run(main())


REFUSED = Transient("join: another assignor")


def test_a_member_that_is_refused_is_told_once_counted_and_says_why_until_it_has_joined() -> None:
    onlooker = Onlooker()
    watch = onlooker.watch
    inner = Script([], REFUSED, REFUSED, REFUSED)
    consumer = watch.around_consumer(inner)

    async def main() -> None:
        await consumer.join(["orders"], Deaf())
        assert watch.why_not() == ""
        for _ in range(3):
            with pytest.raises(Transient):
                await consumer.poll(1)
        assert watch.why_not() == str(REFUSED)
        assert inner.listener is not None
        await inner.listener.on_assigned(1, {})
        assert watch.why_not() == ""

    run(main)
    assert onlooker.counted == ["poll", "poll", "poll"]
    assert onlooker.said == [
        f"Kafka for group payment is of no use: {REFUSED}",
        "Kafka for group payment is of use again, after 3 refused calls",
    ]


def test_a_member_that_still_owns_its_partitions_is_ready_and_quiet_again_by_itself() -> None:
    onlooker = Onlooker()
    inner = Script([], Transient("poll: away"), Fenced("commit: moved on"), [])
    consumer = onlooker.watch.around_consumer(inner)

    async def main() -> None:
        await consumer.join(["orders"], Deaf())
        assert inner.listener is not None
        await inner.listener.on_assigned(1, {})
        with pytest.raises(Transient):
            await consumer.poll(1)
        with pytest.raises(Fenced):
            await consumer.commit({}, 1)
        assert onlooker.watch.why_not() == ""
        assert len(onlooker.said) == 1
        await sleep_us(int(QUIET_S * S) + 1)

    run(main)
    assert onlooker.counted == ["poll", "commit"]
    assert len(onlooker.said) == 2


@pytest.mark.parametrize("call", ["poll", "commit"])
def test_records_and_commits_show_that_it_works_again(call: str) -> None:
    onlooker = Onlooker()
    consumer = onlooker.watch.around_consumer(Script(REFUSED, [make_record()]))

    async def main() -> None:
        with pytest.raises(Transient):
            await consumer.join(["orders"], Deaf())
        await (consumer.poll(1) if call == "poll" else consumer.commit({}, 1))
        assert onlooker.watch.why_not() == ""

    run(main)
    assert len(onlooker.said) == 2


def test_a_publisher_is_away_if_the_broker_is_and_not_for_a_record_that_is_too_large() -> None:
    onlooker = Onlooker()
    failures: list[LabError] = [TooLarge("2 MB"), Transient("away")]

    class Failing(Publisher):
        async def publish(self, records: Sequence[Outgoing]) -> None:  # noqa: ARG002 - the port's shape
            if failures:
                raise failures.pop(0)

    publisher = onlooker.watch.around_publisher(Failing())

    async def main() -> None:
        for error in (TooLarge, Transient):
            with pytest.raises(error):
                await publisher.publish(())
        await publisher.publish(())
        await publisher.publish(())

    asyncio.run(main())
    assert onlooker.said == [
        "Kafka for publishing is of no use: away",
        "Kafka for publishing is of use again, after 1 refused calls",
    ]


def test_a_partition_that_goes_no_further_is_told_once_until_it_goes_on() -> None:
    said: list[str] = []
    hand, loop = Hand(), SimpleNamespace(heads={PLACE: 5}, is_paused=False)
    watch = ProgressWatch(loop, "payment", hand, lambda _, line: said.append(line))  # type: ignore[arg-type]  # parts of one

    def look_on(for_us: int) -> None:
        for _ in range(for_us // LOOK_US):
            watch.look()
            hand.us += LOOK_US
        watch.look()

    look_on(STUCK_US - LOOK_US)
    assert (said, watch.why_not(), watch.oldest_us()) == ([], "", STUCK_US - LOOK_US)
    look_on(STUCK_US)
    assert said == [
        "stuck: group payment, topic orders, partition 0 has waited for 120 s at offset 5"
    ]
    assert watch.why_not() == "topic orders, partition 0 goes no further than offset 5"
    loop.heads = {PLACE: 6}
    look_on(LOOK_US)
    assert said[1:] == ["no longer stuck: group payment, topic orders, partition 0"]
    assert watch.why_not() == ""


def test_a_group_that_is_paused_or_has_nothing_to_do_is_not_stuck() -> None:
    said: list[str] = []
    hand, loop = Hand(), SimpleNamespace(heads={PLACE: 5}, is_paused=True)
    watch = ProgressWatch(loop, "payment", hand, lambda _, line: said.append(line))  # type: ignore[arg-type]  # parts of one
    for heads in ({PLACE: 5}, {}):
        loop.heads = heads
        for _ in range(2 * STUCK_US // LOOK_US):
            watch.look()
            hand.us += LOOK_US
        loop.is_paused = False

    assert (said, watch.oldest_us()) == ([], 0)
