"""Bugs about the time that an order has: a timer that is early, late or dead, a charge too late."""

import asyncio
import dataclasses
from typing import Any, Final

from msgspec.structs import replace

from lab.ports.store import Loaded
from lab.services.orders import Orders, OrdersUseCases
from lab.services.payment import Payment
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

SHORT: Final = Setup(
    scenario="cancellation",
    orders=60,
    rate=0.3,
    faults=(
        "svc.timeout@payment_gateway at=10s for=140s",
        "svc.timeout@warehouse at=80s for=100s",
    ),
    settings=(
        ("retry.tiers_ms", (1_000, 2_000)),
        ("run.drain_ms", 100_000),
        ("orders.expiry_ms", 103_000),
    ),
)

SENT_BACK: Final = dataclasses.replace(
    SHORT,
    scenario="timeouts",
    settings=(
        *SHORT.settings,
        ("retry.attempts_max", 2),
        ("operator.redrives", 1),
        ("dead_letter.in_a_row", 100),
        ("dead_letter.share_percent", 100),
    ),
)


@BUGS.plant(
    "expiry-in-time",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=SHORT,
    witness="before its time",
    falls={"times-told": "the event that asks for payment tells the wrong expiry"},
)
def minutes_for_hours(**given: Any) -> OrdersUseCases:
    """The expiry is computed in another unit than it is configured in."""
    return OrdersUseCases(**{**given, "expiry_us": given["expiry_us"] // 60})


@BUGS.plant(
    "expiry-in-time",
    "lab.wiring.process.roles.Orders",
    setup=SHORT,
    witness="after its time was up",
    falls={"converges": "an order that nobody can charge waits for ever"},
)
class NoTimer(Orders):
    """The timer is written, and nobody starts it."""

    async def run_expiry(self) -> None:
        """Nobody is waited for."""
        await asyncio.get_running_loop().create_future()


@BUGS.plant(
    "expiry-in-time",
    "lab.wiring.process.roles.Orders",
    setup=SHORT,
    witness="after its time was up",
    falls={
        "converges": "the run is over before all of them had their turn",
        "drains": "and ends in the midst of the last ones",
    },
)
class OnceAMinute(Orders):
    """A job looks for what is due every minute, and takes one order a time."""

    async def run_expiry(self) -> None:
        """See `Orders.run_expiry`."""
        while True:
            for order in await self.store.due(1):
                await self._expire(order)
            await self.clock.sleep_us(60_000_000)


@BUGS.plant(
    "expiry-in-time",
    "lab.wiring.process.roles.Payment",
    setup=SENT_BACK,
    witness="a charge was announced",
)
class NeverTooLate(Payment):
    """An order whose charge was left open is charged whenever somebody sends it back."""

    async def _load(self, order_id: str) -> Loaded:
        loaded = await super()._load(order_id)
        return replace(loaded, order=replace(loaded.order, expires_us=2**60))
