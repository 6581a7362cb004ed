"""What every dedupe store promises: one owner at a time, fences that grow, marks that expire."""

import asyncio
from collections.abc import Iterator

import pytest

from lab.ports.dedupe import Claim, ClaimState, DedupeStore, Evictable
from tests.contract.store_worlds import DEDUPES, MS, WINDOW_US, WORLDS, World, in_world

LEASE_US = 100 * MS
C = ClaimState


@pytest.fixture(params=DEDUPES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with WORLDS[request.param]() as made:
        yield made


async def claim(store: DedupeStore, owner: str, event_id: str = "event-1") -> Claim:
    return await store.claim("payment", event_id, owner=owner, lease_us=LEASE_US)


async def complete(
    store: DedupeStore, owner: str, fence: int, *, window_us: int = WINDOW_US
) -> bool:
    return await store.complete("payment", "event-1", owner=owner, fence=fence, window_us=window_us)


async def release(store: DedupeStore, owner: str, fence: int) -> bool:
    return await store.release("payment", "event-1", owner=owner, fence=fence)


@in_world
async def test_of_two_rivals_one_acquires_and_the_other_hears_how_long(world: World) -> None:
    one, other = world.process("payment-1"), world.process("payment-2")
    claims = await asyncio.gather(
        one.call(claim(one.dedupe, "payment-1")), other.call(claim(other.dedupe, "payment-2"))
    )
    assert sorted(found.state for found in claims) == [C.ACQUIRED, C.BUSY]
    busy = next(found for found in claims if found.state is C.BUSY)
    assert 0 < busy.busy_us <= LEASE_US


@in_world
async def test_what_is_done_stays_done_for_its_window_and_no_longer(world: World) -> None:
    store = world.process("payment").dedupe
    acquired = await claim(store, "me")
    assert await complete(store, "me", acquired.fence, window_us=50 * MS)
    assert (await claim(store, "other")).state is C.DONE
    assert (await claim(store, "me")).state is C.DONE
    await world.sleep_us(60 * MS)
    assert (await claim(store, "other")).state is C.ACQUIRED


@in_world
async def test_groups_and_events_are_claimed_apart(world: World) -> None:
    store = world.process("payment").dedupe
    assert (await claim(store, "me")).state is C.ACQUIRED
    assert (await claim(store, "me", "event-2")).state is C.ACQUIRED
    found = await store.claim("orders", "event-1", owner="me", lease_us=LEASE_US)
    assert found.state is C.ACQUIRED


@in_world
async def test_whoever_is_cancelled_cancels_nobody_beside(world: World) -> None:
    store = world.process("payment").dedupe
    asking = [asyncio.ensure_future(claim(store, "me", f"e{number}")) for number in range(16)]
    for turns in range(3):
        await asyncio.sleep(0)
        asking[5 * turns].cancel()
    said = await asyncio.gather(*asking, return_exceptions=True)
    left = [each for number, each in enumerate(said) if number % 5 or number > 10]
    assert [each.state for each in left if isinstance(each, Claim)] == [C.ACQUIRED] * 13
    assert (await claim(store, "me", "after")).state is C.ACQUIRED


@in_world
async def test_a_released_event_is_free_at_once(world: World) -> None:
    store = world.process("payment").dedupe
    first = await claim(store, "me")
    assert await release(store, "me", first.fence)
    assert (await claim(store, "other")).state is C.ACQUIRED


@in_world
async def test_a_lease_outlives_its_dead_owner_and_is_then_taken_over(world: World) -> None:
    dead, other = world.process("payment-1"), world.process("payment-2")
    first = await claim(dead.dedupe, "payment-1#1")
    dead.kill()
    assert (await claim(other.dedupe, "payment-2#1")).state is C.BUSY
    await world.sleep_us(LEASE_US + MS)
    second = await claim(other.dedupe, "payment-2#1")
    assert second.state is C.TAKEOVER
    assert second.fence > first.fence


@in_world
async def test_a_lease_is_as_long_as_it_was_asked_for(world: World) -> None:
    store = world.process("payment").dedupe
    hour_us = 3_600_000 * MS
    await store.claim("payment", "event-1", owner="me", lease_us=hour_us)
    await world.sleep_us(20 * MS)
    busy = await claim(store, "other")
    assert busy.state is C.BUSY
    assert hour_us // 2 < busy.busy_us <= hour_us


@in_world
async def test_the_owner_of_a_lost_lease_ends_nothing(world: World) -> None:
    store = world.process("payment").dedupe
    first = await claim(store, "slow")
    await world.sleep_us(LEASE_US + MS)
    second = await claim(store, "quick")
    assert not await complete(store, "slow", first.fence)
    assert not await release(store, "slow", first.fence)
    assert (await claim(store, "third")).state is C.BUSY
    assert await complete(store, "quick", second.fence)
    assert not await release(store, "slow", first.fence)
    assert (await claim(store, "third")).state is C.DONE


@in_world
async def test_owner_and_fence_must_both_be_right(world: World) -> None:
    store = world.process("payment").dedupe
    found = await claim(store, "me")
    assert not await complete(store, "other", found.fence)
    assert not await complete(store, "me", found.fence - 1)
    assert not await complete(store, "me", found.fence + 1)
    assert await complete(store, "me", found.fence)


@in_world
async def test_a_fence_outlives_its_key(world: World) -> None:
    store = world.process("payment").dedupe
    fences = []
    for _ in range(4):
        found = await claim(store, "me")
        fences.append(found.fence)
        assert await release(store, "me", found.fence)
    assert fences == sorted(set(fences))
    last = await claim(store, "me")
    assert not await complete(store, "me", fences[-1]), "an earlier claim of the same owner"
    assert await complete(store, "me", last.fence)


@in_world
async def test_a_missing_key_refuses_a_completion(world: World) -> None:
    store = world.process("payment").dedupe
    assert not await complete(store, "me", 1)
    found = await claim(store, "me")
    world.forget_dedupe()
    assert not await complete(store, "me", found.fence)
    assert (await claim(store, "other")).state is C.ACQUIRED


@in_world
async def test_what_was_forgotten_is_acquired_again(world: World) -> None:
    store = world.process("payment").dedupe
    found = await claim(store, "me")
    await complete(store, "me", found.fence)
    world.forget_dedupe()
    assert (await claim(store, "me")).state is C.ACQUIRED


async def evict(store: DedupeStore, event_id: str = "event-1") -> None:
    assert isinstance(store, Evictable)
    await store.evict("payment", event_id)


@in_world
async def test_an_evicted_claim_is_acquired_by_another_and_ends_nothing(world: World) -> None:
    store = world.process("payment").dedupe
    first = await claim(store, "me")
    assert (await claim(store, "me", "event-2")).state is C.ACQUIRED
    await evict(store)
    second = await claim(store, "other")
    assert second.state is C.ACQUIRED
    assert second.fence > first.fence
    assert not await complete(store, "me", first.fence)
    assert not await release(store, "me", first.fence)
    assert (await claim(store, "third", "event-2")).state is C.BUSY, "only one event is forgotten"
    assert await complete(store, "other", second.fence)


@in_world
async def test_an_evicted_mark_is_forgotten_and_there_may_be_none(world: World) -> None:
    store = world.process("payment").dedupe
    await evict(store)
    found = await claim(store, "me")
    assert await complete(store, "me", found.fence)
    await evict(store)
    assert (await claim(store, "other")).state is C.ACQUIRED


@in_world
async def test_a_lease_of_no_length_is_over_at_once_and_taken_over(world: World) -> None:
    store = world.process("payment").dedupe
    first = await store.claim("payment", "event-1", owner="me", lease_us=0)
    second = await claim(store, "other")
    assert (first.state, second.state) == (C.ACQUIRED, C.TAKEOVER)
    assert second.fence > first.fence
    assert not await complete(store, "me", first.fence)
