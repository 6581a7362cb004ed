"""When a relay does what; the weak part of the outbox, and the event that it loses."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from lab.domain.errors import Indeterminate, LabError, TooLarge, Transient
from lab.domain.order import OrderState
from lab.history.facts import RowEntry
from lab.history.pen import Pen
from lab.patterns.outbox import DirectPublish, Relay, to_record
from lab.ports.bus import Outgoing, Publisher
from lab.ports.store import Unit, UnitVerdict
from tests.contract.store_worlds import (
    MemoryProcess,
    MemoryWorld,
    make_change,
    make_create,
    make_outcome,
    memory_world,
)

S = OrderState


class Log(Publisher):
    """Appends to a list after a while, or raises."""

    def __init__(self, process: MemoryProcess, error: LabError | None = None) -> None:
        self._process = process
        self._error = error
        self.records: list[Outgoing] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await self._process.clock.sleep_us(100)
        if self._error is not None:
            raise self._error
        self.records.extend(records)


def test_an_event_is_published_by_its_caller_once_it_is_committed() -> None:
    async def main(world: MemoryWorld) -> Log:
        process = world.process("api")
        log = Log(process)
        direct = DirectPublish(process.orders, log)
        assert await process.call(direct.commit(make_create())) is UnitVerdict.COMMITTED
        return log

    with memory_world() as world:
        log = world.run(main(world))
        assert log.records == [to_record(event) for event in make_create().events]
        assert world.store.outbox.unpublished == 0
        (fact,) = world.facts
        owed = RowEntry._make(fact).event_id
        assert owed == make_create().events[0].id, "the change owes its event all the same"


def test_nothing_is_published_for_a_unit_that_was_rolled_back() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        log = Log(process)
        direct = DirectPublish(process.orders, log)
        assert await process.call(direct.commit(make_change(S.PAID))) is UnitVerdict.CONFLICT
        assert (
            await process.call(direct.commit(Unit(outcome=make_outcome()))) is UnitVerdict.COMMITTED
        )
        again = replace(make_create(), outcome=make_outcome())
        assert await process.call(direct.commit(again)) is UnitVerdict.DONE
        assert log.records == []

    with memory_world() as world:
        world.run(main(world))


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Transient("no broker"), Indeterminate),
        (Indeterminate("lost"), Indeterminate),
        (TooLarge("big"), TooLarge),
    ],
)
def test_a_failed_publish_never_says_that_nothing_was_committed(
    error: LabError, raised: type[LabError]
) -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("api")
        direct = DirectPublish(process.orders, Log(process, error))
        with pytest.raises(raised) as failed:
            await process.call(direct.commit(make_create()))
        if isinstance(error, Transient):
            assert str(failed.value) == "committed, but not published: no broker"
        assert await process.orders.load("order-1") is not None

    with memory_world() as world:
        world.run(main(world))


def test_the_weak_part_loses_the_event_of_a_process_that_dies_after_its_commit() -> None:
    async def main(world: MemoryWorld) -> Log:
        process = world.process("api")
        log = Log(process)
        process.start(DirectPublish(process.orders, log).commit(make_create()))
        await world.sleep_us(50)
        process.kill()
        await world.sleep_us(10_000)
        return log

    with memory_world() as world:
        log = world.run(main(world))
        assert [order.order.state for order in world.store.orders()] == [S.PENDING]
        assert (log.records, world.store.outbox.unpublished) == ([], 0)


def make_relay(
    process: MemoryProcess, publisher: Publisher, *, batch: int = 200
) -> tuple[Relay, list[object]]:
    entries: list[object] = []
    relay = Relay(
        process.outbox,
        publisher,
        process.clock,
        batch=batch,
        lanes=8,
        pen=Pen(process="relay-1", now=process.clock.now_us, write=entries.append),
    )
    return relay, entries


class Times(Publisher):
    """Notes when it is asked; raises if it is told to."""

    def __init__(self, process: MemoryProcess, error: LabError | None = None) -> None:
        self._process = process
        self._error = error
        self.us: list[int] = []

    async def publish(self, records: Sequence[Outgoing]) -> None:
        assert records
        self.us.append(self._process.clock.now_us())
        if self._error is not None:
            raise self._error


def test_an_event_is_published_in_the_moment_of_its_commit() -> None:
    async def main(world: MemoryWorld) -> list[int]:
        process = world.process("relay")
        times = Times(process)
        relay, _ = make_relay(process, times, batch=1)
        await process.orders.commit(make_create())
        await process.orders.commit(make_change(S.VALIDATED))
        process.start(relay.run())
        await world.sleep_us(1_000)
        await process.orders.commit(make_change(S.PAID, version=2))
        await world.sleep_us(1_000)
        return times.us

    with memory_world() as world:
        assert world.run(main(world)) == [0, 0, 1_000]


def test_a_relay_that_fails_waits_twice_as_long_each_time_up_to_two_seconds() -> None:
    async def main(world: MemoryWorld) -> list[int]:
        process = world.process("relay")
        times = Times(process, Transient("no broker"))
        relay, _ = make_relay(process, times)
        await process.orders.commit(make_create())
        process.start(relay.run())
        await world.sleep_us(8_000_000)
        return times.us

    with memory_world() as world:
        us = world.run(main(world))
    waits = [later - earlier for earlier, later in pairwise(us)]
    assert waits == [50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000, 2_000_000, 2_000_000]


@pytest.mark.parametrize(("age_us", "told"), [(1, 1), (0, 0)])
def test_only_what_is_older_than_the_relay_was_left_by_another_one(age_us: int, told: int) -> None:
    async def main(world: MemoryWorld) -> list[object]:
        process = world.process("relay")
        relay, entries = make_relay(process, Times(process))
        unit = make_create()
        event = replace(unit.events[0], time_us=process.clock.wall_us() - age_us)
        await process.orders.commit(replace(unit, events=(event,)))
        process.start(relay.run())
        await world.sleep_us(1_000)
        return entries

    with memory_world() as world:
        entries = world.run(main(world))
    assert entries == [("acted", 0, "relay-1", "", "outbox", "recovered")] * told
