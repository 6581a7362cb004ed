"""Bugs about the end: orders that never come to theirs, work that is never put away."""

from dataclasses import replace
from typing import Any, Final

from lab.bus.loop.delivery import Limits
from lab.domain.events import Payload, PaymentCaptured
from lab.ports.key_retry import WaitingRow
from lab.ports.providers import ChargeState
from lab.ports.service import Context
from lab.ports.store import Loaded, Unit
from lab.services.orders import Orders
from lab.services.payment import Payment, _Finding
from lab.stores.memory.key_retry import KeyRetryTable
from lab.wiring.process.chain import _limits
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

ERRORS: Final = Setup(scenario="timeouts")
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))


@BUGS.plant(
    "converges",
    setup=ERRORS,
    off=("retry",),
    witness="at the end",
    falls={
        "retry-law": "an event is given up with attempts left",
        "excuse-earned": "one failure of several that are allowed is no reason to give up",
    },
)
def no_retry() -> None:
    """The first failure is the last: a dead letter for what would have passed."""


@BUGS.plant("drains", "lab.wiring.process.chain._limits", setup=Setup(), witness="lag")
def commit_every_200_only(policy: Any) -> Limits:
    """Positions are committed after so many records; the last ones wait for more to come."""
    return replace(_limits(policy), commit_after_us=2**50)


@BUGS.plant(
    "drains",
    "lab.stores.memory.store.KeyRetryTable",
    setup=THROUGH_TIERS,
    witness="waiting",
    falls={
        "no-lost-event": "what stands behind such a row is never run",
        "converges": "nor is it parked",
    },
)
class RowsAreNotDeleted(KeyRetryTable):
    """The rows of a key that has come to its end are kept for the auditors."""

    def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:  # noqa: ARG002 - the shape of what it replaces
        return None


@BUGS.plant(
    "converges",
    "lab.wiring.process.roles.Orders",
    setup=Setup(),
    witness="it is PAID at the end",
    falls={
        "excuse-earned": "nothing outside has failed",
        "no-crash": "a handler that raises is a bug, whatever becomes of the event",
    },
)
class CurrencyWithoutAMinorUnit(Orders):
    """A division by the number of minor units, of which some currencies have none."""

    async def on_payment_captured(self, payload: Payload, context: Context) -> None:
        assert isinstance(payload, PaymentCaptured)
        units = {"JPY": 0}.get(payload.currency, 100)
        assert payload.amount_cents // units >= 0
        await super().on_payment_captured(payload, context)


@BUGS.plant(
    "converges",
    "lab.wiring.process.roles.Payment",
    setup=Setup(
        rate=2,
        faults=(
            "svc.hang_after_effect@payment_gateway#2 first=1",
            "svc.timeout@payment_gateway#2 every=1",
        ),
        settings=(("retry.tiers_ms", (100, 200, 300)),),
    ),
    witness="it is VALIDATED with an open intent at the end",
)
class NobodyIsTold(Payment):
    """When a charge is given up, its order stays as it was: nobody is told to look for it."""

    async def on_dead(self, order_id: str, event_type: str) -> Unit:  # noqa: ARG002 - the shape of what it replaces
        return Unit(order_id=order_id)


@BUGS.plant(
    "converges",
    "lab.wiring.process.roles.Payment",
    setup=Setup(scenario="expiring", orders=None),
    witness="it is PAYMENT_UNKNOWN at the end",
)
class ExpiryIsTheTimers(Payment):
    """Whatever has expired is left to the timer, which takes no order out of PAYMENT_UNKNOWN."""

    def _charged(self, loaded: Loaded, finding: _Finding, context: Context) -> Unit:
        if finding.state is ChargeState.NONE:
            return self._nothing(loaded, "expired", finding)
        return super()._charged(loaded, finding, context)
