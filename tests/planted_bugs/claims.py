"""Bugs about claims that nobody gives back, so that the event waits until a lease runs out."""

import asyncio
from typing import Final

from lab.domain.errors import LabError
from lab.patterns.dedupe import Dedupe
from lab.ports.bus import Delivery, Settlement
from lab.ports.dedupe import Claim
from lab.stores.memory.dedupe import MemoryDedupeServer
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

DEDUPE: Final = "lab.wiring.policy.Switches.dedupe.strong"
ERRORS: Final = Setup(scenario="timeouts", orders=100)
CANCELLED: Final = Setup(orders=100, faults=("proc.cancel#every10 first=1",))


@BUGS.plant("claim-returned", DEDUPE, setup=ERRORS, witness="kept its claim of")
class KeptAfterFailure(Dedupe):
    """Only a success is told to the store: after a failure the event waits for its own lease."""

    async def _end(self, delivery: Delivery, fence: int, *, is_done: bool) -> None:
        if is_done:
            await super()._end(delivery, fence, is_done=is_done)


@BUGS.plant("claim-returned", DEDUPE, setup=ERRORS, witness="kept its claim of")
class NeverDone(Dedupe):
    """A failure gives the claim back, and a success forgets it: the store never knows of it."""

    async def _end(self, delivery: Delivery, fence: int, *, is_done: bool) -> None:
        if not is_done:
            await super()._end(delivery, fence, is_done=is_done)


@BUGS.plant("claim-returned", DEDUPE, setup=CANCELLED, witness="kept its claim of")
class KeptAfterCancel(Dedupe):
    """`except LabError` instead of `finally`: what is cancelled keeps its claim."""

    async def _run(self, delivery: Delivery, claim: Claim) -> Settlement:
        async def inner(given: Delivery) -> Settlement:
            return await self._inner(given)

        try:
            settled = await inner(delivery)
        except LabError:
            await self._end(delivery, claim.fence, is_done=False)
            raise
        except asyncio.CancelledError:
            raise
        await self._end(delivery, claim.fence, is_done=True)
        return settled


@BUGS.plant(
    "claim-returned",
    "lab.wiring.backends.memory_servers.MemoryDedupeServer",
    setup=Setup(scenario="crash-before-ack", seed=2, orders=30),
    witness="whose lease was not over",
)
class LeaseInMilliseconds(MemoryDedupeServer):
    """The store takes the length of a lease for one in another unit, so a rival is let in."""

    def claim(self, name: str, event_id: str, owner: str, lease_us: int) -> Claim:
        return super().claim(name, event_id, owner, lease_us // 1_000)
