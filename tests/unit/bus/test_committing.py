"""When positions are committed, and what a refused or failed commit leads to."""

from collections.abc import Mapping, Sequence

from lab.bus.loop.committing import PositionCommitter
from lab.bus.loop.offsets import OffsetTracker
from lab.domain.errors import Fenced, LabError, Transient
from lab.patterns.commit_prefix import commit_prefix
from lab.ports.bus import Consumer, Listener, Record, TopicPartition
from lab.runtime.virtual_loop import Scheduler, sleep_us

MS = 1_000
PLACE = TopicPartition("orders", 0)


class Answers(Consumer):
    """A consumer whose commits take a while and are answered as given."""

    def __init__(self, *answers: LabError | None, takes_us: int = MS) -> None:
        self._answers = list(answers)
        self._takes_us = takes_us
        self.commits: list[tuple[int, int]] = []
        self.under_way = 0
        self.together_max = 0

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        self.under_way += 1
        self.together_max = max(self.together_max, self.under_way)
        await sleep_us(self._takes_us)
        self.under_way -= 1
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        self.commits.append((offsets[PLACE], epoch))

    async def join(self, topics: Sequence[str], listener: Listener) -> None: ...
    async def poll(self, max_records: int) -> list[Record]:
        return [][:max_records]

    def wake(self) -> None: ...
    def pause(self, partitions: Sequence[TopicPartition]) -> None: ...
    def resume(self, partitions: Sequence[TopicPartition]) -> None: ...
    async def leave(self) -> None: ...


class Bench:
    """A committer of one partition, and the means to settle records of it."""

    def __init__(self, scheduler: Scheduler, consumer: Answers) -> None:
        self.consumer = consumer
        self.committer = PositionCommitter(
            consumer,
            commit_prefix,
            every=3,
            after_us=100 * MS,
            now=lambda: scheduler.now_us,
        )
        self.tracker = OffsetTracker(PLACE)
        self.next = 0
        self.committer.begin(1)
        self.running = scheduler.root.create_task(self.committer.run())

    def settle(self, count: int) -> None:
        for _ in range(count):
            self.tracker.delivered(self.next)
            self.tracker.settled(self.next)
            self.committer.settled(self.tracker)
            self.next += 1


def test_the_first_uncommitted_settlement_arms_the_timer_and_idle_time_arms_none() -> None:
    async def main() -> None:
        await sleep_us(500 * MS)
        bench.settle(1)
        await sleep_us(60 * MS)
        bench.settle(1)
        await sleep_us(39 * MS)
        assert bench.consumer.commits == []
        await sleep_us(3 * MS)
        assert bench.consumer.commits == [(2, 1)]
        await sleep_us(10_000 * MS)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers())
        scheduler.run(main())
        assert bench.consumer.commits == [(2, 1)]


def test_commits_go_one_at_a_time() -> None:
    async def main() -> None:
        bench.settle(3)
        await sleep_us(0)
        bench.settle(1)
        assert await bench.committer.flush(scheduler.now_us)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(takes_us=10 * MS))
        scheduler.run(main())
    assert bench.consumer.commits == [(3, 1), (4, 1)]
    assert bench.consumer.together_max == 1


def test_a_failed_commit_is_tried_again_until_it_succeeds() -> None:
    async def main() -> None:
        bench.settle(1)
        await sleep_us(1_000 * MS)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(Transient("down"), Transient("down")))
        scheduler.run(main())
    assert bench.consumer.commits == [(1, 1)]


def test_a_flush_gives_up_at_its_deadline() -> None:
    async def main() -> bool:
        bench.settle(1)
        return await bench.committer.flush(scheduler.now_us + 1_000 * MS)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(*(Transient("down") for _ in range(99))))
        assert scheduler.run(main()) is False
        assert scheduler.now_us <= 1_000 * MS


def last_flush(
    answers: int, *, deadline_us: int, lowered_us: int | None = None
) -> tuple[bool, int]:
    """Whether the last flush succeeded after so many failures, and how long it took."""

    async def main() -> bool:
        def lower() -> None:
            nonlocal deadline_us
            assert lowered_us is not None
            deadline_us = lowered_us

        bench.settle(1)
        if lowered_us is not None:
            scheduler.root.call_after_us(lowered_us, lower)
        return await bench.committer.flush_last(2_000 * MS, lambda: deadline_us)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(*(Transient("down") for _ in range(answers))))
        return scheduler.run(main()), scheduler.now_us


def test_who_leaves_goes_on_trying_to_commit_until_its_deadline_and_not_much_longer() -> None:
    is_committed, took_us = last_flush(9, deadline_us=5_000 * MS)
    assert is_committed
    assert took_us > 2_000 * MS

    is_committed, took_us = last_flush(99, deadline_us=5_000 * MS)
    assert not is_committed
    assert 5_000 * MS <= took_us <= 7_000 * MS


def test_a_deadline_that_has_passed_leaves_one_attempt_and_one_that_is_lowered_ends_it() -> None:
    assert last_flush(1, deadline_us=0)[0]
    assert last_flush(99, deadline_us=0)[1] <= 2_000 * MS
    assert last_flush(99, deadline_us=60_000 * MS, lowered_us=1_000 * MS)[1] <= 4_000 * MS


def test_who_has_less_time_than_a_pause_still_waits_between_its_tries_to_commit() -> None:
    async def main() -> bool:
        bench.settle(1)
        return await bench.committer.flush_last(100 * MS, lambda: 1_000 * MS)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(*(Transient("down") for _ in range(99))))
        assert scheduler.run(main()) is False
        assert 1_000 * MS <= scheduler.now_us <= 1_200 * MS


def test_a_refused_commit_ends_the_last_flush() -> None:
    async def main() -> bool:
        bench.settle(1)
        return await bench.committer.flush_last(2_000 * MS, lambda: 60_000 * MS)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(Fenced("gone")))
        assert scheduler.run(main()) is False
        assert scheduler.now_us <= 100 * MS


def test_after_a_refused_commit_nothing_of_that_epoch_counts_as_committed() -> None:
    async def main() -> None:
        bench.settle(3)
        await sleep_us(10 * MS)
        assert bench.committer.refused == 1
        assert not await bench.committer.flush(scheduler.now_us + 1_000 * MS)
        bench.settle(3)
        assert not await bench.committer.flush(scheduler.now_us + 1_000 * MS)
        assert bench.committer.refused == 1, "it does not ask again"

        bench.committer.begin(2)
        bench.tracker.is_dirty = False
        bench.settle(1)
        assert await bench.committer.flush(scheduler.now_us)

    with Scheduler() as scheduler:
        bench = Bench(scheduler, Answers(Fenced("moved on")))
        scheduler.run(main())
    assert bench.consumer.commits == [(7, 2)]
