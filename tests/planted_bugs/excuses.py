"""Bugs that give up without a reason, and call it by the name of one."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from lab.domain.codec import decode
from lab.domain.errors import LabError, Permanent, Poison, Transient
from lab.domain.events import OrderConfirmed, Payload, RefundRequested
from lab.domain.order import Intent, IntentKind, Order
from lab.patterns.provider_key import KeyPerIntent
from lab.patterns.retry import Retrying
from lab.ports.bus import Delivery, Settlement
from lab.ports.providers import ChargeState, GatewayAnswer, Known
from lab.ports.service import Context
from lab.ports.store import IntentChange, Loaded, Unit
from lab.providers.core import NO_ANSWER, Answer, Request
from lab.providers.simulated_wire import SimulatedWire
from lab.services.notification import Notification
from lab.services.payment import Payment, _Finding
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

PLAIN: Final = Setup()
CANCELLED: Final = Setup(scenario="cancellation")
DECLINED: Final = Setup(scenario="declined-cards")
FAILING: Final = Setup(orders=40, faults=("svc.error@mailer#every20 first=1",))

PAYMENT: Final = "lab.wiring.process.roles.Payment"
NOTIFICATION: Final = "lab.wiring.process.roles.Notification"
RETRY: Final = "lab.wiring.policy.Switches.retry.strong"


@BUGS.plant(
    "excuse-earned",
    NOTIFICATION,
    setup=Setup(orders=8),
    witness="notification gave up OrderConfirmed after attempt 3 of 6",
    falls={"no-crash": "a handler that raises is a bug, whatever becomes of the event"},
)
class ConfirmedHasNoCountry(Notification):
    """The mail of a confirmation looks for a field that its event does not have."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if isinstance(payload, OrderConfirmed):
            assert payload.country  # type: ignore[attr-defined]  # that is the bug
        await super().on_news(payload, context)


@BUGS.plant(
    "excuse-earned",
    NOTIFICATION,
    setup=Setup(orders=8),
    witness="notification gave up OrderConfirmed after 6 failed runs, and 0 of them",
)
class MailThatIsNeverReady(Notification):
    """A template engine that is not installed raises an error that claims to pass."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if isinstance(payload, OrderConfirmed):
            raise Transient("the template is not loaded yet")
        await super().on_news(payload, context)


@BUGS.plant(
    "excuse-earned",
    "lab.wiring.process.chain.decode",
    setup=Setup(orders=40),
    witness="as poison, and no fault had spoiled it",
)
def every_tenth_is_poison(kind: str, data: bytes) -> Payload:
    """A buffer of the decoder is too short, so now and then a sound event cannot be read."""
    if zlib.crc32(data) % 10 == 0:
        raise Poison("unexpected end of data")
    return decode(kind, data)


@BUGS.plant(
    "excuse-earned",
    PAYMENT,
    setup=DECLINED,
    witness="payment gave up OrderValidated as permanent, and nobody outside refused",
)
class DeclinedIsForAPerson(Payment):
    """A declined card is an error like any other, and somebody in the office looks at it."""

    def _charged(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        if finding.state is ChargeState.DECLINED:
            raise Permanent("the card was declined")
        return super()._charged(loaded, finding, context)


@BUGS.plant(
    "excuse-earned",
    PAYMENT,
    setup=CANCELLED,
    witness="payment gave up RefundRequested as permanent, and nobody outside refused",
)
class RefundsAreDoneByHand(Payment):
    """The refund is not built yet: everything that asks for one is put aside."""

    async def on_refund_requested(self, payload: Payload, context: Context) -> None:
        assert isinstance(payload, RefundRequested)
        await self._load(payload.order_id)
        raise Permanent(f"the refund of {payload.charge_key} is to be done by hand: {context}")


@BUGS.plant(
    "excuse-earned",
    PAYMENT,
    setup=CANCELLED,
    witness="payment gave up RefundRequested as permanent, and nobody outside refused",
)
class RefundOfAnotherCharge(Payment):
    """The refund names the key of the intent, which has a prefix that the charge had not."""

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        wrong = f"charge-{charge}" if charge else ""
        return await super()._call(intent, key, order, wrong, deadline_us)


@BUGS.plant(
    "excuse-earned",
    RETRY,
    setup=FAILING,
    witness="notification gave up OrderCreated after attempt 1 of 6",
    falls={"retry-law": "an event is given up with attempts left"},
)
class MailsAreNotWorthIt(Retrying):
    """Mails are tried once, because they are only mails."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        if delivery.group == "notification":
            return self._bury(delivery, error, "exhausted")
        return await super()._again(delivery, error)


@BUGS.plant(
    "excuse-earned",
    PAYMENT,
    setup=Setup(orders=40, faults=("svc.hang_after_effect@payment_gateway#every10 first=1",)),
    witness="payment gave up OrderValidated as permanent, and nobody outside refused",
)
class SecondSendOfLess(Payment):
    """The second send takes off a fee for the first one, under the same key."""

    async def _send(
        self,
        loaded: Loaded,
        intent: Intent,
        context: Context,
        started_us: int,
        charge: str,
        before: tuple[IntentChange, ...] = (),
    ) -> _Finding | None:
        if context.attempt > 1:
            order = replace(loaded.order, amount_cents=loaded.order.amount_cents - 1)
            loaded = replace(loaded, order=order)
        return await super()._send(loaded, intent, context, started_us, charge, before)


@BUGS.plant(
    "excuse-earned",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=Setup(scenario="cancellation", orders=60, rate=6),
    witness="payment gave up RefundRequested as permanent, and nobody outside",
)
class AnyMovementIsTheAnswer(KeyPerIntent):
    """All that the gateway knows of an order answers for its refund: its charge does, too."""

    def found(self, intent: Intent, known: Sequence[Known]) -> Known:
        for each in known:
            if each.state is not ChargeState.PENDING and intent.kind is IntentKind.REFUND:
                return each
        return super().found(intent, known)


@BUGS.plant(
    "excuse-earned",
    "lab.providers.simulated_wire.SimulatedWire._give_up",
    setup=Setup(scenario="slow-third-party", orders=90),
    witness="which 409 held up for longer than any request lives",
)
def given_up_and_under_way(
    wire: SimulatedWire, future: asyncio.Future[Answer], request: Request
) -> None:
    """A request that was not executed before its deadline stays in flight for ever."""
    wire._server.told(request, NO_ANSWER)
    wire._answer(future, NO_ANSWER)
