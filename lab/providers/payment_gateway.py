"""The payment gateway: moves money and keeps the only ledger that counts.

It executes every request: two charges under two keys are two captures. It refuses only to give back
more than it took.
"""

from collections.abc import Callable
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from lab.history.recorder import Write
from lab.ports.chance import Chance
from lab.ports.providers import ChargeState, GatewayAnswer, Known
from lab.providers.core import DAY_US, Answer, KeyMode, Refused, Remembered, Request, Server

CHARGE: Final = "charge"
REFUND: Final = "refund"
QUERY: Final = "query"

LEDGER_DAYS: Final = 30

_CAPTURED: Final = GatewayAnswer(state=ChargeState.CAPTURED)
_REFUNDED: Final = GatewayAnswer(state=ChargeState.REFUNDED)
_CARD_DECLINED: Final = GatewayAnswer(state=ChargeState.DECLINED, reason="card_declined")
_CHARGE_UNKNOWN: Final = GatewayAnswer(state=ChargeState.DECLINED, reason="charge_unknown")
_CHARGE_REFUNDED: Final = GatewayAnswer(state=ChargeState.DECLINED, reason="charge_refunded")
_REFUND_REFUSED: Final = GatewayAnswer(state=ChargeState.DECLINED, reason="refund_refused")
_AMOUNT_TOO_LARGE: Final = GatewayAnswer(state=ChargeState.DECLINED, reason="amount_too_large")


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A movement that was executed under one key. `about` is the charge key of a refund."""

    key: str
    state: ChargeState
    amount_cents: int
    about: str


class GatewayServer(Server):
    """Captures, declines, refunds and tells about them.

    A query knows an order until 30 days (or two lifetimes of a key, if that is more) after its last
    movement.

    Args: as of `Server`; it refuses cards.
    """

    name: ClassVar[str] = "payment_gateway"

    def __init__(
        self,
        *,
        chance: Chance,
        now_us: Callable[[], int],
        latency_us: int,
        write: Write | None,
        key_mode: KeyMode = KeyMode.STRIPE,
        key_lifetime_us: int = DAY_US,
        refused_percent: float = 0,
    ) -> None:
        super().__init__(
            chance=chance,
            now_us=now_us,
            latency_us=latency_us,
            write=write,
            key_mode=key_mode,
            key_lifetime_us=key_lifetime_us,
            refused_percent=refused_percent,
        )
        self._says_no = False
        self._ledger: Remembered[tuple[_Entry, ...]] = Remembered(
            max(LEDGER_DAYS * DAY_US, 2 * key_lifetime_us)
        )

    def refuse(self, request: Request) -> Answer:
        self._says_no = True
        try:
            return self.execute(request)
        finally:
            self._says_no = False

    def _do(self, request: Request, now_us: int) -> Answer:
        known = self._ledger.get(request.order_id, now_us) or ()
        if request.action == QUERY:
            return self._answer(request.order_id, known)
        told = request
        answer = _CAPTURED if request.action == CHARGE else _REFUNDED
        what = "capture" if request.action == CHARGE else "refund"
        objection = self._objection(request, known)
        if objection is not None:
            answer = objection
            if request.action == CHARGE:
                what, told = "decline", replace(request, about=objection.reason)
            else:
                what = "refund_declined"
        entry = _Entry(request.key, answer.state, request.amount_cents, request.about)
        self._ledger.put(request.order_id, (*known, entry), now_us)
        self._record(what, told, now_us)
        return answer

    def restore(self, request: Request, answer: Answer, at_us: int) -> None:
        super().restore(request, answer, at_us)
        if isinstance(answer, GatewayAnswer):
            entry = _Entry(request.key, answer.state, request.amount_cents, request.about)
            known = self._ledger.get(request.order_id, at_us) or ()
            self._ledger.put(request.order_id, (*known, entry), at_us)

    def _objection(self, request: Request, known: tuple[_Entry, ...]) -> GatewayAnswer | None:
        if request.action == CHARGE:
            return _CARD_DECLINED if self._refuses(request.subject) else None
        taken = [e for e in known if e.key == request.about and e.state is ChargeState.CAPTURED]
        if not taken:
            return _CHARGE_UNKNOWN
        if any(e.about == request.about and e.state is ChargeState.REFUNDED for e in known):
            return _CHARGE_REFUNDED
        if request.amount_cents > taken[0].amount_cents:
            return _AMOUNT_TOO_LARGE
        return _REFUND_REFUSED if self._says_no else None

    def _answer(self, order_id: str, known: tuple[_Entry, ...]) -> tuple[Known, ...]:
        executed = tuple(Known(key=e.key, state=e.state) for e in known)
        pending = tuple(
            Known(key=request.key, state=ChargeState.PENDING)
            for request in self._in_flight.values()
            if request.order_id == order_id
        )
        return executed + pending

    def _again(self, request: Request, stored: Answer, now_us: int) -> Answer:
        """The stored answer, or 400 if the key comes with another amount than the first time."""
        for entry in self._ledger.get(request.order_id, now_us) or ():
            if entry.key == request.key and entry.amount_cents != request.amount_cents:
                return Refused(400)
        return stored
