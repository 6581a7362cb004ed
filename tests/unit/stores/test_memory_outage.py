"""The servers in memory during an outage: nobody is answered, nothing is lost, all come back."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lab.domain.errors import Down, Indeterminate, LabError
from lab.ports.dedupe import ClaimState
from lab.ports.store import Outcome, Unit, UnitVerdict
from tests.contract.store_worlds import (
    MS,
    MemoryProcess,
    MemoryWorld,
    make_create,
    make_outcome,
    make_waiting,
    memory_world,
)

LOOKS: dict[str, Callable[[MemoryProcess], Coroutine[Any, Any, object]]] = {
    "load": lambda p: p.orders.load("order-1"),
    "outcome": lambda p: p.orders.outcome("payment", "e"),
    "http_key": lambda p: p.orders.http_key("key"),
    "due": lambda p: p.orders.due(10),
    "is_blocked": lambda p: p.customers.is_blocked("o-1", "C-1", deadline_us=10**9),
    "own_shard": lambda p: p.outbox.own_shard(),
    "unpublished": lambda p: p.outbox.unpublished(0, 10),
    "head": lambda p: p.key_retry.head("payment", "order-1"),
}
CHANGES: dict[str, Callable[[MemoryProcess], Coroutine[Any, Any, object]]] = {
    "commit": lambda p: p.orders.commit(make_create()),
    "begin_start": lambda p: p.starts.begin_start("payment", "e", 0),
    "explain_start": lambda p: p.starts.explain_start("payment", "e", 0),
    "mark_published": lambda p: p.outbox.mark_published([]),
    "arrive": lambda p: p.key_retry.arrive(make_waiting("e")),
    "park": lambda p: p.key_retry.park(make_waiting("e")),
    "reschedule": lambda p: p.key_retry.reschedule(make_waiting("e")),
    "finish": lambda p: p.key_retry.finish("notification", "order-1", "e"),
    "bury": lambda p: p.key_retry.bury("notification", "order-1", "e", 0),
    "revive": lambda p: p.key_retry.revive(make_waiting("e")),
    "discard": lambda p: p.key_retry.discard(make_waiting("e")),
}


async def raised(call: Coroutine[Any, Any, object]) -> type[LabError] | None:
    try:
        await call
    except LabError as error:
        return type(error)
    return None


def in_memory(main: Callable[[MemoryWorld], Coroutine[Any, Any, None]]) -> None:
    with memory_world() as world:
        world.run(main(world))


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_finds_the_store_down_and_is_answered_again_afterwards(look: str) -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        world.store.begin_outage()
        assert [await raised(LOOKS[look](process)) for _ in range(2)] == [Down, Down]
        world.store.end_outage()
        assert await raised(LOOKS[look](process)) is None

    in_memory(main)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_under_way_is_in_doubt_and_a_later_one_was_not_applied(change: str) -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        for _ in range(2):
            world.store.begin_outage()
            assert await raised(CHANGES[change](process)) is Indeterminate
            assert await raised(CHANGES[change](process)) is Down
            world.store.end_outage()
            assert await raised(CHANGES[change](process)) is None

    in_memory(main)


def test_a_commit_in_doubt_was_applied_or_not_and_both_happen() -> None:
    async def main(world: MemoryWorld) -> None:
        processes = [world.process(f"payment-{number}") for number in range(4)]
        world.store.begin_outage()
        for number, process in enumerate(processes):
            unit = Unit(outcome=make_outcome(f"e{number}"))
            assert await raised(process.orders.commit(unit)) is Indeterminate
        world.store.end_outage()
        found = [await processes[0].orders.outcome("payment", f"e{n}") for n in range(4)]
        done = (Outcome.DONE, 0)
        assert found == [done, None, done, None]

    in_memory(main)


def test_who_comes_during_an_outage_has_nothing_under_way() -> None:
    async def main(world: MemoryWorld) -> None:
        world.store.begin_outage()
        process = world.process("payment")
        assert await raised(process.orders.commit(make_create())) is Down
        world.store.end_outage()
        assert await process.orders.commit(make_create()) is UnitVerdict.COMMITTED

    in_memory(main)


def test_a_store_that_comes_back_has_all_that_it_had() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("relay")
        await process.orders.commit(make_create())
        shard = await process.outbox.own_shard()
        await process.key_retry.park(make_waiting("e"))
        world.store.begin_outage()
        world.store.end_outage()
        assert await process.orders.load("order-1") is not None
        assert (await process.key_retry.head("notification", "order-1"))[0] is not None
        assert await process.outbox.own_shard() != shard, "a shard is still the relay's"

    in_memory(main)


def test_an_outage_that_begins_twice_is_one() -> None:
    async def main(world: MemoryWorld) -> None:
        process = world.process("payment")
        world.store.begin_outage()
        assert await raised(process.orders.commit(make_create())) is Indeterminate
        world.store.begin_outage()
        assert await raised(process.orders.commit(make_create())) is Down
        world.store.end_outage()
        assert await raised(process.orders.load("order-1")) is None

    in_memory(main)


def test_dedupe_is_down_for_everybody_and_keeps_its_claims() -> None:
    async def main(world: MemoryWorld) -> None:
        held, other = world.process("payment-1").dedupe, world.process("payment-2").dedupe
        found = await held.claim("payment", "e", owner="one", lease_us=100 * MS)
        world.dedupe.begin_outage()
        for store in (held, other, world.process("payment-3").dedupe):
            for call in (
                store.claim("payment", "other", owner="two", lease_us=MS),
                store.complete("payment", "other", owner="two", fence=1, window_us=MS),
                store.release("payment", "other", owner="two", fence=1),
                store.evict("payment", "other"),  # type: ignore[attr-defined]  # it is a MemoryDedupe
            ):
                assert await raised(call) is Down
        world.dedupe.end_outage()
        busy = await other.claim("payment", "e", owner="two", lease_us=MS)
        assert busy.state is ClaimState.BUSY
        assert await held.complete("payment", "e", owner="one", fence=found.fence, window_us=10**9)

    in_memory(main)
