"""The customer cancels while the payment runs: the order is gone, the money is taken.

Nothing failed, so nothing is retried, and nobody gives it back.

So a capture that lands on a cancelled or expired order moves it to REFUND_PENDING and asks for the
refund, in the transaction that closes the intent: what cannot be rolled back is undone by another
step forward.

The weak part keeps the capture and settles the event.

Source: Garcia-Molina and Salem, Sagas, 1987.
"""

from lab.domain.events import RefundRequested
from lab.domain.order import Order
from lab.history.recorder import Now, Write
from lab.ports.strategies import Compensation


class RefundLateCaptures(Compensation):
    """Money that came too late goes back.

    Args:
        write: where the history goes, or None.
        now: the time of its entries.
        process: whose they are.
    """

    def __init__(self, *, write: Write | None, now: Now, process: str) -> None:
        self._write = write
        self._now = now
        self._process = process

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:
        if self._write is not None:
            subject = order.lab_subject
            self._write(
                ("acted", self._now(), self._process, subject, "compensation", "refund_requested")
            )
        return RefundRequested(
            order_id=order.id,
            charge_key=charge_key,
            currency=order.currency,
            amount_cents=order.amount_cents,
        )


class KeepLateCaptures(Compensation):
    """The weak part: the shop keeps money for an order that does not exist any more."""

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:  # noqa: ARG002 - the port's shape
        return None
