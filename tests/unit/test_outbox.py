"""The weak part of the outbox: what it does, and the event that it loses."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from lab.domain.errors import Indeterminate, LabError, TooLarge, Transient
from lab.domain.order import OrderState
from lab.patterns.outbox import DirectPublish, to_record
from lab.ports.bus import Outgoing, Publisher
from lab.ports.store import Unit, Verdict
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
        assert await process.call(direct.commit(make_create())) is Verdict.COMMITTED
        return log

    with memory_world() as world:
        log = world.run(main(world))
        assert log.records == [to_record(event) for event in make_create().events]
        assert world.store.outbox.unpublished == 0
        assert [(entry[0], entry[6]) for entry in world.facts] == [
            ("row", make_create().events[0].id)
        ], "the change owes its event all the same"


def test_nothing_is_published_for_a_unit_that_was_rolled_back() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        log = Log(process)
        direct = DirectPublish(process.orders, log)
        assert await process.call(direct.commit(make_change(S.PAID))) is Verdict.CONFLICT
        assert await process.call(direct.commit(Unit(outcome=make_outcome()))) is Verdict.COMMITTED
        again = replace(make_create(), outcome=make_outcome())
        assert await process.call(direct.commit(again)) is Verdict.DONE
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
        with pytest.raises(raised):
            await process.call(direct.commit(make_create()))
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
