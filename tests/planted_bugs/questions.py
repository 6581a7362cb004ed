"""Bugs about calls to the payment gateway that nobody needed: they cost a fee, or a rate limit."""

from typing import Any, Final

from lab.domain.order import IntentKind
from lab.patterns.provider_key import KeyPerIntent
from lab.ports.providers import GatewayAnswer
from lab.ports.service import Context
from lab.ports.store import Loaded
from lab.services.payment import Payment, _Finding
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

PAYMENT: Final = "lab.wiring.process.roles.Payment"
HUNG: Final = Setup(scenario="hung-after-charge", orders=60)


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=HUNG,
    witness="the gateway was asked in attempt 2, which may send again",
)
class AsksAtOnce(KeyPerIntent):
    """Better safe than sorry: whoever finds an open intent asks, and waits until he may send."""

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:  # noqa: ARG002 - the port's shape
        return True


@BUGS.plant(
    "retry-law",
    PAYMENT,
    setup=Setup(),
    witness="the gateway was asked although the same run had its answer already",
)
class AsksToBeSure(Payment):
    """The answer to the charge is checked by a question, since it was free in the sandbox."""

    async def _send(self, *args: Any, **given: Any) -> _Finding | None:
        finding = await super()._send(*args, **given)
        loaded, _, context, *_ = args
        await self.gateway.query(loaded.order.id, deadline_us=context.deadline_us)
        return finding


@BUGS.plant(
    "retry-law",
    PAYMENT,
    setup=Setup(),
    witness="a charge was sent although the same run had its answer already",
)
class SendsToBeSure(Payment):
    """The library repeats what is idempotent, and so does its caller."""

    async def _call(self, *args: Any, **given: Any) -> GatewayAnswer:
        await super()._call(*args, **given)
        return await super()._call(*args, **given)


@BUGS.plant(
    "retry-law",
    PAYMENT,
    setup=Setup(),
    witness="the gateway was asked about money that was not announced",
)
class AsksBeforeItPromises(Payment):
    """Whether the order was charged before is asked for each order, as nobody reads the intents."""

    async def _find_out(
        self, loaded: Loaded, kind: IntentKind, context: Context, started_us: int, charge: str = ""
    ) -> _Finding | None:
        await self.gateway.query(loaded.order.id, deadline_us=context.deadline_us)
        return await super()._find_out(loaded, kind, context, started_us, charge)
