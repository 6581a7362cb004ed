"""The dedupe store on a real Redis, beyond the contract: calls shared, keys lost, server gone."""

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis.exceptions
from redis.asyncio import Redis

from lab.domain.errors import Down, EnvironmentNotReady
from lab.ports.dedupe import Claim, ClaimState
from lab.stores.redis.dedupe import RedisDedupe, RedisServer, check, forget, live_claims
from tests.contract.server_worlds import RedisWorld, redis_world, unique
from tests.contract.store_worlds import MS, in_world
from tests.kit.real_servers import control, need, need_control
from tests.real.cut_line import CutLine

pytestmark = pytest.mark.real

C = ClaimState
SECRET = "s3cr3t-p@ss/w:rd"
LEASE_US = 60_000 * MS


@pytest.fixture
def world() -> Iterator[RedisWorld]:
    with redis_world() as made:
        yield made


@pytest.fixture
def stoppable(world: RedisWorld) -> Iterator[None]:
    """The test stops the server; it runs again before the world ends."""
    del world
    need_control("redis")
    yield
    control("resume", "redis")
    control("start", "redis")


async def in_thread(command: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, control, command, "redis")


async def claim(store: Any, event_id: str, owner: str = "me") -> Claim:
    found = await store.claim("payment", event_id, owner=owner, lease_us=LEASE_US)
    assert isinstance(found, Claim)
    return found


# ---- many at once


@in_world
async def test_claims_that_come_together_share_script_calls(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    await claim(store, "warm")
    async with Redis.from_url(world.server.url, protocol=2) as watcher:
        before = (await watcher.info("commandstats"))["cmdstat_evalsha"]["calls"]
        found = await asyncio.gather(*(claim(store, f"e{number}") for number in range(300)))
        done = await asyncio.gather(
            *(
                store.complete("payment", f"e{n}", owner="me", fence=each.fence, window_us=MS)
                for n, each in enumerate(found)
            )
        )
        after = (await watcher.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert {each.state for each in found} == {C.ACQUIRED}
    assert len({each.fence for each in found}) == 300
    assert all(done)
    assert after - before < 20, "calls for six hundred questions"


@in_world
async def test_rivals_that_come_together_still_have_one_owner(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    found = await asyncio.gather(*(claim(store, "e", f"owner-{n}") for n in range(50)))
    assert [each.state for each in found].count(C.ACQUIRED) == 1
    assert [each.state for each in found].count(C.BUSY) == 49


@in_world
async def test_owners_leases_and_windows_may_differ_within_one_call(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    await claim(store, "warm")
    found = await asyncio.gather(
        *(
            store.claim("payment", f"e{n}", owner=f"o{n % 2}", lease_us=(1 + n % 3) * LEASE_US)
            for n in range(6)
        )
    )
    held = {event: (owner, rest) for _, event, owner, rest in await live_claims(world.server)}
    for n in range(6):
        owner, rest_us = held[f"e{n}"]
        assert owner == f"o{n % 2}"
        assert n % 3 * LEASE_US < rest_us <= (1 + n % 3) * LEASE_US
    ends = await asyncio.gather(
        *(
            store.complete("payment", f"e{n}", owner="o0", fence=found[n].fence, window_us=window)
            for n, window in enumerate((LEASE_US, LEASE_US, 2 * LEASE_US))
        ),
        store.release("payment", "e4", owner="o0", fence=found[4].fence),
    )
    assert ends == [True, False, True, True]
    states = await asyncio.gather(*(claim(store, f"e{n}") for n in range(6)))
    assert [each.state for each in states] == [C.DONE, C.BUSY, C.DONE, C.BUSY, C.ACQUIRED, C.BUSY]


@in_world
async def test_a_key_that_holds_something_else_refuses_its_own_caller_and_nobody_beside(
    world: RedisWorld,
) -> None:
    store = world.process("p").dedupe
    async with Redis.from_url(world.server.url, protocol=2) as other:
        await other.rpush(f"{world.server.prefix}:payment:e7", "theirs")
    found = await asyncio.gather(
        *(claim(store, f"e{number}") for number in range(16)), return_exceptions=True
    )
    odd = found.pop(7)
    assert isinstance(odd, Down)
    assert "e7 holds no claim (WRONGTYPE)" in str(odd)
    assert {each.state for each in found if isinstance(each, Claim)} == {C.ACQUIRED}
    assert len(found) == 15
    ends = await asyncio.gather(
        store.release("payment", "e7", owner="me", fence=1),
        store.release("payment", "e8", owner="me", fence=found[7].fence),  # type: ignore[union-attr]  # looked at above
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [Down, bool]
    assert ends[1]


@in_world
async def test_a_connection_lost_with_sixteen_claims_in_flight_leaves_all_of_them_unknown(
    world: RedisWorld,
) -> None:
    line = CutLine.to(world.server.url)
    await line.start()
    store = RedisDedupe(RedisServer(url=line.through(world.server.url), prefix=world.server.prefix))
    await claim(store, "warm")
    line.is_mute = True
    said = await asyncio.gather(
        *(claim(store, f"e{number}") for number in range(16)), return_exceptions=True
    )
    assert {type(each) for each in said} == {Down}
    assert len({id(each) for each in said}) == 16, "each raises, and extends, an error of its own"
    assert line.cuts == 1, "they travelled together"
    line.is_mute = False
    again = await asyncio.gather(*(claim(store, f"e{number}") for number in range(16)))
    assert {each.state for each in again} == {C.BUSY}, "they were taken, and nobody knew"
    await store.close()
    await line.stop()


# ---- what Redis forgets


@in_world
async def test_fences_grow_although_everything_was_lost(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    fences = []
    for _ in range(4):
        fences.append((await claim(store, "e")).fence)
        world.forget_dedupe()
    assert fences == sorted(set(fences))


@in_world
async def test_scripts_that_the_server_forgot_are_sent_again(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    first = await claim(store, "e1")
    async with Redis.from_url(world.server.url, protocol=2) as watcher:
        await watcher.script_flush()
    assert (await claim(store, "e2")).state is C.ACQUIRED
    assert await store.release("payment", "e1", owner="me", fence=first.fence)


@in_world
async def test_only_keys_of_the_run_are_forgotten(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    await asyncio.gather(*(claim(store, f"e{number}") for number in range(50)))
    beside = f"{world.server.prefix}x:payment:e1"
    async with Redis.from_url(world.server.url, protocol=2) as watcher:
        await watcher.set(beside, "theirs", px=60_000)
        assert await forget(world.server) == 51, "fifty claims and the counter of fences"
        assert await watcher.get(beside) == b"theirs"
        await watcher.delete(beside)
    assert await live_claims(world.server) == []
    assert await forget(world.server) == 0


@in_world
async def test_claims_whose_lease_runs_can_be_listed(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    await store.claim("payment", "e:1", owner="a process#1", lease_us=LEASE_US)
    await store.claim("payment", "short", owner="me", lease_us=MS)
    done = await claim(store, "e2")
    await store.complete("payment", "e2", owner="me", fence=done.fence, window_us=LEASE_US)
    await asyncio.sleep(0.01)
    ((group, event_id, owner, rest_us),) = await live_claims(world.server)
    assert (group, event_id, owner) == ("payment", "e:1", "a process#1")
    assert 0 < rest_us <= LEASE_US


@in_world
async def test_the_weak_part_ends_what_belongs_to_another(world: RedisWorld) -> None:
    weak = RedisDedupe(world.server, compares_fences=0)
    first = await claim(weak, "e")
    assert await weak.release("payment", "e", owner="other", fence=0)
    assert await weak.complete("payment", "e", owner="me", fence=first.fence, window_us=LEASE_US)
    assert (await claim(weak, "e")).state is C.DONE
    assert await weak.release("payment", "e", owner="me", fence=0)
    assert (await claim(weak, "e")).state is C.DONE, "what is done stays done"
    await weak.close()


# ---- outages


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("stoppable")
@in_world
async def test_a_restarted_server_is_found_again(world: RedisWorld) -> None:
    store = world.process("p").dedupe
    await claim(store, "e1")
    await in_thread("kill")
    said = await asyncio.gather(
        *(claim(store, f"e{number}") for number in range(20)), return_exceptions=True
    )
    assert {type(each) for each in said} == {Down}
    await in_thread("start")
    for _ in range(100):
        try:
            found = await claim(store, "e30")
        except Down:  # it answers already, and reads its log
            await asyncio.sleep(0.02)
        else:
            assert found.state is C.ACQUIRED
            return
    raise AssertionError("it was not found again")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("stoppable")
@in_world
async def test_a_paused_server_makes_nobody_wait_for_ever(world: RedisWorld) -> None:
    server = RedisServer(url=world.server.url, prefix=world.server.prefix, timeout_us=300 * MS)
    store = RedisDedupe(server)
    first = await claim(store, "e")
    await in_thread("pause")
    said = await asyncio.gather(
        *(claim(store, f"e{number}") for number in range(500)),
        store.complete("payment", "e", owner="me", fence=first.fence, window_us=MS),
        return_exceptions=True,
    )
    await in_thread("resume")
    assert {type(each) for each in said} == {Down}
    assert (await claim(store, "after")).state is C.ACQUIRED
    await store.close()


@in_world
async def test_an_answer_that_was_cut_off_is_down(world: RedisWorld) -> None:
    line = CutLine.to(world.server.url)
    await line.start()
    store = RedisDedupe(RedisServer(url=line.through(world.server.url), prefix=world.server.prefix))
    await claim(store, "e1")
    line.is_mute = True
    with pytest.raises(Down) as down:
        await claim(store, "e2")
    assert (down.value.dependency, down.value.after_us > 0) == ("redis", True)
    line.is_mute = False
    assert (await claim(store, "e2")).state is C.BUSY, "it was taken, and nobody knows"
    await store.close()
    await line.stop()


# ---- errors


@pytest.mark.parametrize(
    "name",
    [
        "AuthenticationError",
        "BusyLoadingError",
        "ConnectionError",
        "InvalidResponse",
        "MasterDownError",
        "MaxConnectionsError",
        "NoPermissionError",
        "OutOfMemoryError",
        "ReadOnlyError",
        "ResponseError",
        "TimeoutError",
    ],
)
def test_what_a_server_may_answer_has_one_root(name: str) -> None:
    assert issubclass(getattr(redis.exceptions, name), redis.exceptions.RedisError)


def test_a_server_that_is_not_there_is_named_with_the_command_that_starts_it() -> None:
    server = RedisServer(url=f"redis://:{quote(SECRET, safe='')}@127.0.0.1:9/0", prefix="p")
    with pytest.raises(EnvironmentNotReady, match=r"127\.0\.0\.1:9.*scripts/servers up redis"):
        asyncio.run(check(server))


def test_a_prefix_that_is_none_is_refused() -> None:
    for prefix in ("", "a*", "a:b"):
        with pytest.raises(EnvironmentNotReady, match="no prefix"):
            asyncio.run(check(RedisServer(url=need("redis"), prefix=prefix)))


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:9/0",
        f"redis://:{quote(SECRET, safe='')}@127.0.0.1:9/0",
        f"nonsense://:{SECRET}@127.0.0.1:9/0",
        f"redis://127.0.0.1:9/0?password={SECRET}",
        f"redis://127.0.0.1:9/0?socket_timeout={SECRET.replace('@', '')}",
        f"redis://127.0.0.1:9/0?db={SECRET.replace('@', '')}",
    ],
)
def test_a_password_never_appears(url: str) -> None:
    server = RedisServer(url=url, prefix=unique("secret"))
    with pytest.raises(EnvironmentNotReady) as refused:
        asyncio.run(check(server))
    trace = "".join(traceback.format_exception(refused.value))
    shown = f"{refused.value!s} {refused.value!r} {server!r} {trace}"
    for part in ("s3cr3t", "p@ss", "w:rd"):
        assert part not in shown


def test_a_wrong_password_is_said_without_it() -> None:
    address = need("redis").replace("redis://", f"redis://:{quote(SECRET, safe='')}@")
    with pytest.raises(EnvironmentNotReady) as refused:
        asyncio.run(check(RedisServer(url=address, prefix="p")))
    assert "s3cr3t" not in str(refused.value)
