"""The worker pool, where the contract of the bus cannot look."""

from lab.ports.bus import Ack, Delivery, Settlement
from tests.contract.bus_world import memory_world, publish


def test_cancelling_an_idle_worker_does_not_shrink_the_pool() -> None:
    async def handle(_delivery: Delivery) -> Settlement:
        return Ack()

    async def case() -> None:
        await world.make_topics({"orders": 1})
        member = await world.start("m", handle)
        await world.until(lambda: bool(member.subscription.owned), "it is assigned")
        for task in member.subscription._workers.tasks:
            task.cancel()
        await world.sleep_us(1_000)
        assert len(member.subscription._workers.tasks) == 16
        assert not any(task.done() for task in member.subscription._workers.tasks)
        await publish(world, "a", "b", "c")
        for task in member.subscription._workers.tasks:
            task.cancel()  # Some of them have been handed a lane in this very instant.
        await world.until_committed("orders", 3)
        assert (await member.stop(1_000_000)).is_clean
        await world.sleep_us(1_000)
        assert all(task.done() for task in member.subscription._workers.tasks)

    with memory_world() as world:
        world.run(case())
