"""Bugs about money: charged twice, the wrong amount, too early, or without a trace."""

import dataclasses
from typing import Final

from msgspec.structs import replace

from lab.domain.events import (
    OrderValidated,
    Payload,
    PaymentCaptured,
    PaymentRefunded,
    RefundRequested,
)
from lab.domain.order import Intent, IntentKind, Order, OrderState
from lab.patterns.provider_key import KeyPerIntent
from lab.ports.providers import ChargeState, GatewayAnswer, Known
from lab.ports.service import Context
from lab.ports.store import Loaded, Unit
from lab.ports.strategies import Compensation
from lab.providers.clients import GatewayClient
from lab.providers.core import Refused, Request
from lab.providers.payment_gateway import QUERY
from lab.services.payment import Payment, _Finding
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

HUNG: Final = Setup(scenario="hung-after-charge")
CANCELLED: Final = Setup(scenario="cancellation")
CANCELLED_IN_BACKOFF: Final = Setup(
    scenario="cancellation", faults=("svc.error@payment_gateway#every10 first=1",)
)
DECLINED: Final = Setup(scenario="declined-cards")
PLAIN: Final = Setup()
HUNG_SLOWLY: Final = Setup(scenario="hung-after-charge", orders=60, rate=6)
CANCELLED_SLOWLY: Final = Setup(scenario="cancellation", orders=60, rate=6)
"""Ten seconds of orders, so that faults at a late call of an order strike too."""

TWICE: Final = {"money-matches": "what was taken twice is kept twice"}


@BUGS.plant(
    "no-double-charge", setup=HUNG, off=("provider_key",), witness="2 captures", falls=TWICE
)
def no_key_per_intent() -> None:
    """A key for each call, and no question: the answer that was lost is charged again."""


@BUGS.plant(
    "no-double-charge",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=HUNG,
    witness="2 captures",
    falls=TWICE,
)
class KeyMadeWhereItIsSent(KeyPerIntent):
    """The key is made next to the HTTP call, so that each attempt has its own."""

    def of_send(self, intent: Intent, attempt: int) -> str:
        return f"{intent.key}:{attempt}"


@BUGS.plant(
    "no-double-charge",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=HUNG,
    witness="2 captures",
    falls=TWICE,
)
class AnswerOfTheQueryNotFound(KeyPerIntent):
    """The gateway's answer is searched by the order's id where it holds the charge's key."""

    def found(self, intent: Intent, known: object) -> Known:  # noqa: ARG002 - the shape of what it replaces
        return Known(key=intent.key, state=ChargeState.NONE)


@BUGS.plant(
    "no-double-charge",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED,
    witness="2 captures",
    falls={
        "money-matches": "the first capture is not given back, and there is a second",
        "gateway-agrees": "nothing was refunded",
        "excuse-earned": "whoever asks for a refund whose answer was lost finds a charge",
    },
)
class RefundThatCharges(Payment):
    """Copied from the charge: the refund calls the same method with its own key."""

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        answer = await super()._call(
            replace(intent, kind=IntentKind.CHARGE), key, order, charge, deadline_us
        )
        is_charge = intent.kind is IntentKind.CHARGE
        return answer if is_charge else replace(answer, state=ChargeState.REFUNDED)


@BUGS.plant("money-matches", setup=CANCELLED, off=("compensation",), witness="it is CANCELLED, and")
def no_compensation() -> None:
    """Nobody gives back what was captured for a cancelled order."""


@BUGS.plant(
    "money-matches", "lab.wiring.process.roles.Payment", setup=PLAIN, witness="a capture of"
)
class AmountInTheWrongUnit(Payment):
    """The gateway's field is in cents too, and the amount is converted all the same."""

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        wrong = replace(order, amount_cents=order.amount_cents // 100)
        return await super()._call(intent, key, wrong, charge, deadline_us)


@BUGS.plant(
    "money-matches", "lab.wiring.process.roles.Payment", setup=PLAIN, witness="a capture of"
)
class CurrencyByDefault(Payment):
    """The currency is left at the client library's default."""

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        return await super()._call(intent, key, replace(order, currency="QQQ"), charge, deadline_us)


@BUGS.plant(
    "money-matches", "lab.wiring.process.roles.Payment", setup=CANCELLED, witness="a refund of"
)
class RefundOfAPart(Payment):
    """A fee is kept from every refund."""

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        if intent.kind is IntentKind.REFUND:
            order = replace(order, amount_cents=order.amount_cents - 1)
        return await super()._call(intent, key, order, charge, deadline_us)


@BUGS.plant(
    "money-matches",
    "lab.wiring.process.roles.Payment",
    setup=DECLINED,
    witness="it is CONFIRMED, and 0 of",
    falls={"gateway-agrees": "nothing was captured"},
)
class DeclinedIsPaid(Payment):
    """HTTP 200 is taken for paid; whether the card was declined stands in the body."""

    def _charged(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        paid = _Finding(ChargeState.CAPTURED, finding.intent, finding.key)
        return super()._charged(loaded, paid, context)


@BUGS.plant(
    "money-matches",
    "lab.wiring.policy.Switches.compensation.strong",
    setup=CANCELLED,
    witness="it is CANCELLED, and",
)
class RefundsExpiredOrdersOnly(Compensation):
    """Of the two ways in which an order can end unpaid, one was forgotten."""

    def __init__(self, **told: object) -> None:
        """Takes what the real one takes."""

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:
        if order.state is OrderState.CANCELLED:
            return None
        return RefundRequested(
            order_id=order.id,
            charge_key=charge_key,
            currency=order.currency,
            amount_cents=order.amount_cents,
        )


@BUGS.plant(
    "charge-after-validation",
    "lab.wiring.process.roles.Payment",
    setup=PLAIN,
    witness="a capture without an announced charge",
    falls={"no-phantom": "a charge must trace back to a committed intent, too"},
)
class ChargeWithoutATrace(Payment):
    """The gateway is called first; what it said is stored with the new state, nothing before."""

    async def on_order_validated(self, payload: Payload, context: Context) -> None:
        assert isinstance(payload, OrderValidated)
        loaded = await self._load(payload.order_id)
        order = loaded.order
        await self.gateway.charge(
            order.id,
            key=f"charge:{order.id}",
            amount_cents=order.amount_cents,
            currency=order.currency,
            deadline_us=context.deadline_us,
        )
        captured = PaymentCaptured(
            order_id=order.id,
            charge_key=f"charge:{order.id}",
            currency=order.currency,
            amount_cents=order.amount_cents,
        )
        finding = _Finding(ChargeState.CAPTURED)
        await context.settle(self._move(loaded, OrderState.PAID, captured, finding, context))


@BUGS.plant(
    "charge-after-validation",
    "lab.services.payment._MAY_CHARGE",
    value=(OrderState.VALIDATED, OrderState.PAYMENT_UNKNOWN, OrderState.CANCELLED),
    setup=CANCELLED_IN_BACKOFF,
    witness="a charge was announced while it was CANCELLED",
)
def charge_in_any_state() -> None:
    """The list of states in which may be charged was written as all that are not paid yet."""


@BUGS.plant(
    "charge-after-validation",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED,
    witness="a refund without an announced refund",
    falls={
        "deadline": "what nobody has promised has no limit but the handler's",
        "retry-law": "nobody asks what became of it before it is sent again",
    },
)
class RefundWithoutAnIntent(Payment):
    """Giving money back can do no harm, so nothing is written down before it."""

    async def on_refund_requested(self, payload: Payload, context: Context) -> None:
        assert isinstance(payload, RefundRequested)
        loaded = await self._load(payload.order_id)
        key = f"refund:{payload.charge_key}"
        await self.gateway.refund(
            payload.order_id,
            key=key,
            charge_key=payload.charge_key,
            amount_cents=payload.amount_cents,
            deadline_us=context.deadline_us,
        )
        refunded = PaymentRefunded(order_id=payload.order_id, charge_key=payload.charge_key)
        finding = _Finding(ChargeState.REFUNDED)
        await context.settle(self._move(loaded, OrderState.REFUNDED, refunded, finding, context))


@BUGS.plant(
    "no-double-charge",
    "lab.wiring.process.roles.Payment",
    setup=HUNG_SLOWLY,
    witness="2 captures",
    falls=TWICE,
)
class SkewInAnotherUnit(Payment):
    """Milliseconds are taken as microseconds: "none" is believed while a charge is on its way."""

    async def _query(self, loaded: Loaded, intent: Intent, context: Context) -> _Finding:
        hasty = dataclasses.replace(self, skew_us=self.skew_us // 1_000)
        return await Payment._query(hasty, loaded, intent, context)


@BUGS.plant(
    "no-double-charge",
    "lab.providers.clients.GatewayClient.query",
    setup=HUNG_SLOWLY,
    witness="2 captures",
    falls=TWICE,
)
async def refused_question_is_no_charge(
    client: GatewayClient, order_id: str, *, deadline_us: int
) -> tuple[Known, ...]:
    """Every 4xx that answers a question is read as 404: the gateway knows of nothing."""
    line = client._line
    answer = await line.send(Request(QUERY, order_id, line.subject_of(order_id)), deadline_us)
    if isinstance(answer, Refused):
        if 400 <= answer.status < 500:
            return ()
        raise line.error(answer)
    assert isinstance(answer, tuple)
    return answer


@BUGS.plant(
    "gateway-agrees",
    "lab.wiring.process.roles.Payment",
    setup=CANCELLED_SLOWLY,
    witness="RefundRequested names a charge of which the ledger has no capture",
    falls={"excuse-earned": "the gateway is right to refuse"},
)
class RefundOfTheFirstCharge(Payment):
    """The refund of a late capture names the first intent of the order, which moved nothing."""

    def _landed_late(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        charges = [each for each in loaded.intents if each.kind is IntentKind.CHARGE]
        first = dataclasses.replace(finding, key=charges[0].key if charges else finding.key)
        return super()._landed_late(loaded, first, context)


@BUGS.plant(
    "no-double-charge",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=Setup(scenario="forgotten-key", orders=None),
    witness="2 captures",
    falls=TWICE,
)
class KeyTrustedForEver(KeyPerIntent):
    """The gateway is asked after some attempts only, however long ago the first one was."""

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:
        return super().asks_first(attempt=attempt, redrives=redrives, age_us=min(age_us, 0))
