"""The customer cancels while the payment runs: the order is gone, the money is taken.

Nothing failed, so nothing is retried, and nobody gives it back.

So a capture that lands on a cancelled or expired order moves it to REFUND_PENDING and asks for the
refund, in the transaction that closes the intent: a step that cannot be rolled back is undone by
another step forward.

The weak part keeps the capture and settles the event.

Source: Garcia-Molina and Salem, Sagas, 1987.
"""

from lab.domain.events import RefundRequested
from lab.domain.order import Order
from lab.history.pen import Pen
from lab.ports.strategies import Compensation


class RefundLateCaptures(Compensation):
    """Money that came too late goes back.

    Args:
        pen: for the history.
    """

    def __init__(self, *, pen: Pen) -> None:
        self._process, self._now, self._write = pen.process, pen.now, pen.write

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

    def __init__(self, **_: object) -> None:
        """There is nothing to be written."""

    def of_late_capture(self, order: Order, charge_key: str) -> RefundRequested | None:  # noqa: ARG002 - the port's shape
        return None
