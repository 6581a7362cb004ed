"""Payment: moves money, and never forgets that it was about to.

Before every call that moves money there is a committed intent; while an intent is open, its event
is not settled. An answer of the gateway is weighed against the order as it stands *now*, because
customers cancel and timers fire while a call is out. Not here: backoff, dead letters and redrive
(`lab.patterns`), the keys of calls and the refund of a late capture (`ports.strategies`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.domain.errors import Indeterminate, Permanent, Throttled, Transient
from lab.domain.events import (
    OrderValidated,
    Payload,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
    PaymentUnknown,
    RefundFailed,
    RefundRequested,
)
from lab.domain.lineage import derive
from lab.domain.order import (
    Intent,
    IntentKind,
    Order,
    OrderState,
    next_intent,
    open_intent,
    promised,
)
from lab.ports.clock import Clock
from lab.ports.providers import ChargeState, GatewayAnswer, PaymentGateway
from lab.ports.service import Context, Handler
from lab.ports.store import Change, IntentChange, IntentOp, Loaded, OrderStore, Unit, UnitVerdict
from lab.ports.strategies import Compensation, Note, ProviderKeys

S = OrderState
_ROUNDS: Final = 8
_MAY_CHARGE: Final = (S.VALIDATED, S.PAYMENT_UNKNOWN)
_MAY_REFUND: Final = (S.REFUND_PENDING, S.REFUND_FAILED)
_CLOSED_UNPAID: Final = (S.CANCELLED, S.EXPIRED)
_PENDING_US: Final = 50_000
_MOVED: Final = (ChargeState.CAPTURED, ChargeState.REFUNDED)
_FINAL: Final = (*_MOVED, ChargeState.DECLINED)


@dataclass(frozen=True, slots=True)
class _Finding:
    """The knowledge about an intent in this run of a handler.

    Attributes:
        intent: as it was committed when it was known; None if there is none open.
        key: the key that the money moved under.
    """

    state: ChargeState
    intent: Intent | None = None
    key: str = ""
    reason: str = ""

    def holds_for(self, loaded: Loaded) -> bool:
        """Whether it is still true of the order as it was read again.

        That money moved is final. A refusal is not, if a rival sent once more under the same key:
        not every provider gives the same answer twice.
        """
        kind = IntentKind.CHARGE if self.intent is None else self.intent.kind
        return self.state in _MOVED or open_intent(loaded.intents, kind) == self.intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """The consumer group `payment`.

    Attributes:
        timeout_us: limit of a call to the gateway; the handler's deadline may be nearer.
        skew_us: by so much the gateway's clock may differ from the database's.
    """

    store: OrderStore
    gateway: PaymentGateway
    clock: Clock
    keys: ProviderKeys
    compensation: Compensation
    timeout_us: int
    skew_us: int
    note: Note
    group: str = "payment"

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "OrderValidated": self.on_order_validated,
            "RefundRequested": self.on_refund_requested,
        }

    async def on_order_validated(self, payload: Payload, context: Context) -> None:
        """VALIDATED, PAYMENT_UNKNOWN -> PAID or DECLINED; CANCELLED, EXPIRED -> REFUND_PENDING."""
        assert isinstance(payload, OrderValidated)
        finding: _Finding | None = None
        for _ in range(_ROUNDS):
            started_us = self.clock.now_us()
            loaded = await self._load(payload.order_id)
            state = loaded.order.state
            if state is S.PENDING:
                raise Transient(f"order {payload.order_id} is not VALIDATED yet")
            if state in _MAY_CHARGE or state in _CLOSED_UNPAID:
                if finding is None or not finding.holds_for(loaded):
                    finding = await self._find_out(loaded, IntentKind.CHARGE, context, started_us)
                if finding is None:
                    continue
                unit = self._charged(loaded, finding, context)
            else:
                unit = self._nothing(loaded, "stale")
            if await context.settle(unit) is UnitVerdict.COMMITTED:
                return
        raise Transient(f"order {payload.order_id} kept changing while it was charged")

    async def on_refund_requested(self, payload: Payload, context: Context) -> None:
        """REFUND_PENDING, REFUND_FAILED -> REFUNDED; a refusal is for a person to look at."""
        assert isinstance(payload, RefundRequested)
        finding: _Finding | None = None
        for _ in range(_ROUNDS):
            started_us = self.clock.now_us()
            loaded = await self._load(payload.order_id)
            state = loaded.order.state
            if state in _CLOSED_UNPAID:
                raise Transient(f"order {payload.order_id} is not REFUND_PENDING yet")
            if state in _MAY_REFUND:
                if finding is None or not finding.holds_for(loaded):
                    finding = await self._find_out(
                        loaded, IntentKind.REFUND, context, started_us, payload.charge_key
                    )
                if finding is None:
                    continue
                if finding.state is not ChargeState.REFUNDED:
                    # Its dead letter parks the order as REFUND_FAILED, and can be redriven.
                    raise Permanent(f"the refund of {payload.charge_key} was refused")
                event = PaymentRefunded(order_id=payload.order_id, charge_key=payload.charge_key)
                unit = self._move(loaded, S.REFUNDED, event, finding, context)
            else:
                unit = self._nothing(loaded, "stale")
            if await context.settle(unit) is UnitVerdict.COMMITTED:
                return
        raise Transient(f"order {payload.order_id} kept changing while it was refunded")

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        """VALIDATED with an open intent -> PAYMENT_UNKNOWN; REFUND_PENDING -> REFUND_FAILED.

        On a cancelled or expired order the open intent itself is the mark that a person must look.
        """
        loaded = await self.store.load(order_id)
        if loaded is None:
            return Unit()
        state = loaded.order.state
        charges = [each for each in loaded.intents if each.kind is IntentKind.CHARGE]
        key = charges[-1].key if charges else ""
        if event_type == "RefundRequested" and state is S.REFUND_PENDING:
            failed = RefundFailed(order_id=order_id, charge_key=key)
            return self._move(loaded, S.REFUND_FAILED, failed)
        is_open = any(each.is_open for each in charges)
        if event_type == "OrderValidated" and state is S.VALIDATED and is_open:
            unknown = PaymentUnknown(order_id=order_id, charge_key=key)
            return self._move(loaded, S.PAYMENT_UNKNOWN, unknown)
        return Unit(order_id=order_id)

    # ---- the knowledge of the gateway

    async def _find_out(
        self, loaded: Loaded, kind: IntentKind, context: Context, started_us: int, charge: str = ""
    ) -> _Finding | None:
        """The fate of the money, by asking or by trying; None: a rival was faster, read again.

        `started_us` is monotonic time just before `loaded` was read, `charge` the key of the charge
        that is to be refunded.

        Raises:
            Throttled: nobody can know before a certain time.
            LabError: as the gateway and the store.
        """
        intent = open_intent(loaded.intents, kind)
        following = next_intent(loaded.order, loaded.intents, kind, charge)
        may_send = _may_send(loaded, kind)
        if intent is None:
            if not may_send:
                return _Finding(ChargeState.NONE)
            return await self._send(loaded, following, context, started_us, charge)
        # The order's age bounds the intent's: releases raise an intent without using it.
        age_us = loaded.now_us - loaded.order.created_us
        redrives = context.redrives
        if may_send and not self.keys.asks_first(
            attempt=context.attempt, redrives=redrives, age_us=age_us
        ):
            return await self._send(loaded, intent, context, started_us, charge)
        finding = await self._query(loaded, intent, context)
        # A person redrives a refused refund so that it is tried again.
        is_refused = kind is IntentKind.REFUND and finding.state is ChargeState.DECLINED
        if not may_send or not (finding.state is ChargeState.NONE or (is_refused and redrives)):
            return finding
        return await self._send(loaded, following, context, started_us, charge, _closing(finding))

    async def _send(
        self,
        loaded: Loaded,
        intent: Intent,
        context: Context,
        started_us: int,
        charge: str,
        before: tuple[IntentChange, ...] = (),
    ) -> _Finding | None:
        """Commit until when the call may be executed (after the steps `before`), then make it."""
        budget_us = min(context.deadline_us - started_us, self.timeout_us)
        if budget_us <= 0:
            raise Transient(f"no time was left to call the gateway about {intent.key}")
        # Database time was read after `started_us`: the gateway's limit is never the later one.
        deadline_us = started_us + budget_us
        # Raised by every later send, even if that has less time left than the one before: it tells
        # a rival that the answer it had before may not be the last word.
        until_us = max(loaded.now_us + budget_us, intent.send_until_us + 1)
        promise = _promise(loaded.order, intent, until_us)
        unit = Unit(
            lab_subject=loaded.order.lab_subject,
            order_id=loaded.order.id,
            intents=(*before, promise),
        )
        if await context.save(unit) is not UnitVerdict.COMMITTED:
            return None
        intent = promise.intent
        if self.clock.now_us() >= deadline_us:
            raise Transient(f"the time to call the gateway about {intent.key} was up too soon")
        key = self.keys.of_send(intent, context.attempt)
        answer = await self._call(intent, key, loaded.order, charge, deadline_us)
        if answer.state not in _FINAL:
            raise Indeterminate(f"the gateway said {answer.state} to {key}, which settles nothing")
        return _Finding(answer.state, intent, key, answer.reason)

    async def _call(
        self, intent: Intent, key: str, order: Order, charge: str, deadline_us: int
    ) -> GatewayAnswer:
        if intent.kind is IntentKind.CHARGE:
            return await self.gateway.charge(
                order.id,
                key=key,
                amount_cents=order.amount_cents,
                currency=order.currency,
                deadline_us=deadline_us,
            )
        return await self.gateway.refund(
            order.id,
            key=key,
            charge_key=charge,
            amount_cents=order.amount_cents,
            deadline_us=deadline_us,
        )

    async def _query(self, loaded: Loaded, intent: Intent, context: Context) -> _Finding:
        """Ask for the fate of an intent.

        Raises:
            Throttled: a send may still be on its way, so "nothing" would prove nothing.
        """
        deadline_us = min(context.deadline_us, self.clock.now_us() + self.timeout_us)
        known = await self.gateway.query(loaded.order.id, deadline_us=deadline_us)
        found = self.keys.found(intent, known)
        # Measured before the question was put, so a movement that is not there now never comes.
        wait_us = intent.send_until_us + self.skew_us - loaded.now_us
        if found.state is ChargeState.PENDING or (found.state is ChargeState.NONE and wait_us >= 0):
            raise Throttled(
                f"{intent.key} may still be on its way", after_us=max(wait_us + 1, _PENDING_US)
            )
        return _Finding(found.state, intent, found.key)

    # ---- its meaning for the order

    def _charged(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        """The unit that settles OrderValidated, given the finding about the charge."""
        order = loaded.order
        if order.state in _CLOSED_UNPAID:
            return self._landed_late(loaded, finding, context)
        if finding.state is ChargeState.CAPTURED:
            captured = PaymentCaptured(
                order_id=order.id,
                charge_key=finding.key,
                currency=order.currency,
                amount_cents=order.amount_cents,
            )
            return self._move(loaded, S.PAID, captured, finding, context)
        if finding.state is ChargeState.NONE and order.state is S.VALIDATED:
            # Nothing was sent, or nothing came of it, and the order has expired: the timer's now.
            return self._nothing(loaded, "expired", finding)
        # No timer takes an order out of PAYMENT_UNKNOWN, so there expiry ends as a refusal.
        reason = finding.reason or ("expired" if finding.state is ChargeState.NONE else "declined")
        declined = PaymentDeclined(order_id=order.id, reason=reason)
        return self._move(loaded, S.DECLINED, declined, finding, context)

    def _landed_late(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        """The order was cancelled or has expired: a capture is not ours to keep."""
        if finding.state is ChargeState.CAPTURED:
            request = self.compensation.of_late_capture(loaded.order, finding.key)
            if request is not None:
                return self._move(loaded, S.REFUND_PENDING, request, finding, context)
        return self._nothing(loaded, "stale", finding)

    def _move(
        self,
        loaded: Loaded,
        to: OrderState,
        payload: Payload,
        finding: _Finding | None = None,
        context: Context | None = None,
    ) -> Unit:
        """Move the order, close the intent, tell of it: one transaction.

        Without a context no event asked for it: the order is put aside for a person, and its intent
        stays open.
        """
        order = loaded.order
        cause = None if context is None else context.envelope
        event = derive(
            payload,
            by=self.group,
            cause_id=order.id if cause is None else cause.id,
            traceparent=order.traceparent if cause is None else cause.traceparent,
            sequence=order.version + 1,
            time_us=loaded.now_us,
            lab_subject=order.lab_subject,
        )
        return Unit(
            lab_subject=order.lab_subject,
            order_id=order.id,
            change=Change(version=order.version, to=to),
            intents=() if finding is None else _closing(finding),
            events=(event,),
        )

    def _nothing(self, loaded: Loaded, why: str, finding: _Finding | None = None) -> Unit:
        """Settle the event without moving the order; an open intent is closed with it."""
        order = loaded.order
        self.note(order.lab_subject, why)
        return Unit(
            lab_subject=order.lab_subject,
            order_id=order.id,
            intents=() if finding is None else _closing(finding),
        )

    async def _load(self, order_id: str) -> Loaded:
        loaded = await self.store.load(order_id)
        if loaded is None:
            raise Transient(f"order {order_id} is not stored yet")
        return loaded


def _may_send(loaded: Loaded, kind: IntentKind) -> bool:
    """Whether money may be moved for an order as it stands; else only questions are allowed."""
    order = loaded.order
    if kind is IntentKind.REFUND:
        return order.state in _MAY_REFUND
    return order.state in _MAY_CHARGE and loaded.now_us < order.expires_us


def _promise(order: Order, intent: Intent, until_us: int) -> IntentChange:
    """Open or raise an intent, so that it may be sent until `until_us`."""
    is_charge = intent.kind is IntentKind.CHARGE
    return IntentChange(
        op=IntentOp.RAISE if intent.send_until_us else IntentOp.OPEN,
        intent=promised(intent, until_us),
        while_in=_MAY_CHARGE if is_charge else _MAY_REFUND,
        expected_send_until_us=intent.send_until_us,
        before_us=order.expires_us if is_charge else 0,
    )


def _closing(finding: _Finding) -> tuple[IntentChange, ...]:
    """Close the intent that something is known about, if there is one.

    An answer that proves no movement holds only as long as no rival sent again.
    """
    if finding.intent is None:
        return ()
    expected_us = 0 if finding.state in _MOVED else finding.intent.send_until_us
    closed = IntentChange(
        op=IntentOp.CLOSE, intent=finding.intent, expected_send_until_us=expected_us
    )
    return (closed,)
