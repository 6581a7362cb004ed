"""The memory log and the delivery loop under everything at once, over seeds.

Members start, stop, abort, are killed and paused at random moments; handlers are slow, fail, raise,
give back; records come twice. What must hold is read from the history alone.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import pytest

from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.memory.log import MemoryLog
from lab.history.calls import DeliverEntry, OwnedEntry, SettleEntry
from lab.history.entries import Entry, kind_of
from lab.history.facts import CommittedEntry
from lab.history.pen import Pen
from lab.patterns.commit_prefix import commit_prefix
from lab.patterns.fencing import accept_present
from lab.ports.bus import (
    Ack,
    Consumer,
    DeadLetter,
    Delivery,
    Outgoing,
    Record,
    Release,
    Retry,
    Settlement,
    StopReport,
    Unread,
    retry_topic,
)
from lab.ports.pass_through import PassThroughConsumer
from lab.runtime.chance import KeyedChance
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.entries import of_type

MS = 1_000
S = 1_000 * MS
TOPICS = ("orders", retry_topic("orders", "g", 1))
RECORDS = 300
GRACE_US = 400 * MS

Place = tuple[str, int, int]


class Duplicating(PassThroughConsumer):
    """Hands out some records twice, and some late, when the assignment may be another one."""

    def __init__(self, inner: Consumer, chance: KeyedChance) -> None:
        super().__init__(inner)
        self._chance = chance

    async def poll(self, max_records: int) -> list[Record]:
        found: list[Record] = []
        records = await self._inner.poll(max_records)
        first = records[0].value.decode() if records else ""
        if records and self._chance.u("late", first) < 0.1:
            await sleep_us(self._chance.integer(0, 800, "late", first) * MS)
        for record in records:
            is_twice = self._chance.u("twice", record.topic, record.value.decode()) < 0.1
            found += [record] * (1 + is_twice)
        return found


@dataclass
class Member:
    name: str
    loop: ProcessLoop
    subscription: DeliveryLoop
    entries: list[Entry] = field(default_factory=list)
    running: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    overlaps: int = 0
    known: list[tuple[Place, int]] = field(default_factory=list)
    stop: tuple[int, int, StopReport] | None = None
    is_gone: bool = False


class Storm:
    """One seed's world."""

    def __init__(self, scheduler: Scheduler, seed: int) -> None:
        self.scheduler = scheduler
        self.chance = KeyedChance(seed)
        self.facts: list[Entry] = []
        self.members: list[Member] = []
        self.log = MemoryLog(
            scheduler.root, session_us=800 * MS, rebalance_us=1_500 * MS, write=self.facts.append
        )
        self.log.create_topics(dict.fromkeys(TOPICS, 4))
        self.log.declare_group("g", TOPICS)
        self.starts = 0

    def add_member(self) -> Member:
        name = f"m-{len(self.members)}"
        loop = self.scheduler.process(name)
        entries: list[Entry] = []

        async def handle(delivery: Delivery) -> Settlement:
            return await self._handle(member, delivery)

        subscription = DeliveryLoop(
            consumer=Duplicating(self.log.consumer("g", name, loop, Unread.EARLIEST), self.chance),
            handle=handle,
            topics=TOPICS,
            group="g",
            limits=Limits(
                workers=4,
                max_in_flight=40,
                max_uncommitted=60,
                commit_every=20,
                commit_after_us=50 * MS,
                revoke_us=300 * MS,
            ),
            position=commit_prefix,
            accepts=accept_present,
            pen=Pen(process=name, now=loop.now_us, write=entries.append),
            move=self._move,
            bury=self._bury,
        )
        member = Member(name, loop, subscription, entries)
        self.members.append(member)

        async def start() -> None:
            subscription.start()

        loop.create_task(start())  # type: ignore[unused-awaitable]  # it ends by itself
        return member

    async def _handle(self, member: Member, delivery: Delivery) -> Settlement:
        self.starts = number = self.starts + 1
        record = delivery.record
        if delivery.starts_known:
            place = (record.topic, record.partition, record.offset)
            member.known.append((place, delivery.epoch))
        member.running[record.key] += 1
        member.overlaps += member.running[record.key] > 1
        try:
            is_slow = self.chance.u("slow", number) < 0.01
            await sleep_us(self.chance.integer(0, 700 if is_slow else 30, "work", number) * MS)
        finally:
            member.running[record.key] -= 1
        draw = self.chance.u("outcome", number)
        if draw < 0.12:
            return Retry(self.chance.integer(0, 700, "retry", number) * MS)
        if draw < 0.16:
            return Release("down", 150 * MS)
        if draw < 0.18:
            return Release("fenced")
        if draw < 0.20:
            raise RuntimeError("planted")
        if draw < 0.21:
            raise asyncio.CancelledError
        return Ack()

    async def _move(self, delivery: Delivery) -> Settlement:
        if self.chance.u("move", delivery.record.value.decode()) < 0.1:
            return Retry(S)
        record = delivery.record
        copy = Outgoing(TOPICS[1], record.key, record.value, record.headers)
        await self.log.publisher(self.scheduler.root).publish([copy])
        return Ack("parked")

    async def _bury(self, _delivery: Delivery, _dead: DeadLetter) -> Settlement:
        return Ack("dead")

    async def run(self) -> None:
        self.add_member()
        publishing = self.scheduler.root.create_task(self._publish())
        for turn in range(40):
            await sleep_us(self.chance.integer(20, 400, "turn", turn) * MS)
            self._act(turn)
        await publishing
        for member in self.members:
            if not member.is_gone and member.loop.paused:
                self._resume(member)
        # Whoever is left goes as it likes; the last one must finish everything.
        self.add_member()
        limit_us = self.scheduler.now_us + 120 * S
        while self.log.lag("g"):
            assert self.scheduler.now_us < limit_us, "it does not converge"
            await sleep_us(10 * MS)

    async def _publish(self) -> None:
        publisher = self.log.publisher(self.scheduler.root)
        for number in range(RECORDS):
            key = b"key-%d" % self.chance.integer(0, 40, "key", number)
            value = b"%d" % number
            await publisher.publish([Outgoing("orders", key, value, (("ce_id", value),))])
            await sleep_us(self.chance.integer(0, 40, "publish", number) * MS)

    def _act(self, turn: int) -> None:
        alive = [member for member in self.members if not member.is_gone]
        action = self.chance.choice(
            ("start", "start", "stop", "stop", "kill", "abort", "pause", "resume"), "act", turn
        )
        if action == "start" or not alive:
            if len(alive) < 4:
                self.add_member()
            return
        member = self.chance.choice(alive, "member", turn)
        if action == "kill":
            member.is_gone = True
            member.loop.kill()
        elif action in ("stop", "abort") and not member.loop.paused:
            member.is_gone = True
            member.loop.create_task(  # type: ignore[unused-awaitable]  # it notes its own end
                self._stop(member, action == "abort")
            )
        elif action == "pause":
            member.loop.pause()
            self.log.silent(member.loop)
        elif action == "resume" and member.loop.paused:
            self._resume(member)

    def _resume(self, member: Member) -> None:
        member.loop.resume()
        self.log.heard(member.loop)

    async def _stop(self, member: Member, is_abort: bool) -> None:  # noqa: FBT001 - called once, with one of both
        began_us = self.scheduler.now_us
        subscription = member.subscription
        report = await (subscription.abort() if is_abort else subscription.stop(GRACE_US))
        member.stop = (began_us, self.scheduler.now_us, report)


def check_everything_was_acknowledged(storm: Storm) -> None:
    acked = {_place(ack) for member in storm.members for ack in _acks(member)}
    for topic in TOPICS:
        for partition, end in enumerate(storm.log.ends(topic)):
            assert {(topic, partition, offset) for offset in range(end)} <= acked


def check_no_commit_passed_a_gap(storm: Storm) -> None:
    acked_at: dict[Place, int] = {}
    for member in storm.members:
        for ack in _acks(member):
            acked_at[_place(ack)] = min(ack.t_us, acked_at.get(_place(ack), ack.t_us))
    done: dict[tuple[str, int], int] = defaultdict(int)
    for fact in of_type(storm.facts, CommittedEntry):
        topic, partition, upto = _place(fact)
        if fact.accepted:
            for offset in range(done[topic, partition], upto):
                assert acked_at[topic, partition, offset] <= fact.t_us, fact
            done[topic, partition] = max(done[topic, partition], upto)


def check_order_of_keys(storm: Storm) -> None:
    keys = {
        (record.topic, record.partition, record.offset): record.key
        for topic in TOPICS
        for record in storm.log.records(topic)
    }
    for member in storm.members:
        assert member.overlaps == 0
        last: dict[tuple[int, str, bytes], int] = {}
        for delivered in of_type(member.entries, DeliverEntry):
            topic, partition, offset = _place(delivered)
            lane = (delivered.epoch, topic, keys[topic, partition, offset])
            assert offset >= last.get(lane, -1), delivered
            last[lane] = offset


def check_first_starts(storm: Storm) -> None:
    """A start that is said to be the first of its record has none under an older epoch.

    There may be one under a younger epoch, if a member was expelled and has not noticed.
    """
    first: dict[Place, int] = {}
    for member in storm.members:
        for delivered in of_type(member.entries, DeliverEntry):
            epoch = delivered.epoch
            first[_place(delivered)] = min(epoch, first.get(_place(delivered), epoch))
    known = [place for member in storm.members for place, _epoch in member.known]
    assert known
    assert len(known) == len(set(known))
    for member in storm.members:
        for place, epoch in member.known:
            assert first[place] == epoch


def check_stops(storm: Storm) -> int:
    """Stops are bounded, and nothing starts again after a clean one; how many were clean.

    Except by a member that was expelled before and has not noticed.
    """
    clean = 0
    for member in storm.members:
        if member.stop is None:
            continue
        began_us, ended_us, report = member.stop
        assert ended_us - began_us <= GRACE_US + 4 * S
        turns = [each for each in member.entries if kind_of(each) in ("owned", "revoked")]
        if report.is_clean and turns and kind_of(turns[-1]) == "owned":
            clean += 1
            epoch = OwnedEntry._make(turns[-1]).epoch
            delivered = of_type(member.entries, DeliverEntry)
            mine = {_place(each) for each in delivered if each.epoch == epoch}
            for other in storm.members:
                for each in of_type(other.entries, DeliverEntry):
                    if each.epoch > epoch:
                        assert _place(each) not in mine, (member.name, each)
    return clean


def check_settled_once(storm: Storm) -> None:
    """Each delivery is settled at most once before the next of the same record; moves apart."""
    for member in storm.members:
        in_hand: dict[tuple[int, Place], int] = defaultdict(int)
        for entry in member.entries:
            if kind_of(entry) == "deliver":
                delivered = DeliverEntry._make(entry)
                in_hand[delivered.epoch, _place(delivered)] += 1
            elif kind_of(entry) == "settle":
                settled = SettleEntry._make(entry)
                if settled.why != "parked" and settled.after_us != S:
                    in_hand[settled.epoch, _place(settled)] -= 1
                    assert in_hand[settled.epoch, _place(settled)] >= 0, settled


def _place(entry: DeliverEntry | SettleEntry | CommittedEntry) -> Place:
    return (entry.topic, entry.partition, entry.offset)


def _acks(member: Member) -> list[SettleEntry]:
    settled = of_type(member.entries, SettleEntry)
    return [entry for entry in settled if entry.settlement == "ack"]


def run_storm(seed: int, order: Literal["fifo", "shuffle"]) -> tuple[Storm, int]:
    with Scheduler(seed=seed, order=order) as scheduler:
        storm = Storm(scheduler, seed)
        scheduler.run(storm.run())
        check_everything_was_acknowledged(storm)
        check_no_commit_passed_a_gap(storm)
        check_order_of_keys(storm)
        check_first_starts(storm)
        check_settled_once(storm)
        clean = check_stops(storm)
        unplanted = [e for e in scheduler.errors if str(e.exception) != "planted"]
        assert unplanted == []
    return storm, clean


@pytest.mark.slow
@pytest.mark.parametrize("order", ["fifo", "shuffle"])
def test_a_storm_of_members_breaks_no_promise_of_the_bus(order: Literal["fifo", "shuffle"]) -> None:
    clean = 0
    kinds: set[str] = set()
    for seed in range(12):
        storm, found = run_storm(seed, order)
        clean += found
        for member in storm.members:
            kinds |= {settled.settlement for settled in of_type(member.entries, SettleEntry)}
    assert clean > 5, "too few clean stops for this to mean much"
    assert kinds == {"ack", "retry", "release", "stale"}


def test_a_storm_is_the_same_every_time() -> None:
    one, _ = run_storm(3, "shuffle")
    two, _ = run_storm(3, "shuffle")
    assert one.facts == two.facts
    assert [m.entries for m in one.members] == [m.entries for m in two.members]
