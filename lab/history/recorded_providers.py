"""Third parties whose calls are written into the history: one entry before, one after.

Each wrapper stands around the adapter of one process life, as those of `recorded_ports` do. Not
here: the real effects at the third party. Its ledger has them, as facts.
"""

from asyncio import CancelledError
from collections.abc import Callable

from lab.domain.errors import Down, LabError, Throttled
from lab.domain.order import Item
from lab.history.pen import Pen
from lab.history.recorded_ports import Failure, result_of
from lab.ports.providers import (
    Antifraud,
    GatewayAnswer,
    Known,
    Mailer,
    PaymentGateway,
    Warehouse,
)
from lab.ports.store import CustomerStore

SubjectOf = Callable[[str], str]
"""The order as `ordinal.send`, of its id; "" for an id that is no order's."""


class _Calls:
    """Writes the calls of one process to one third party.

    Args:
        provider: its name.
        subject_of: see `SubjectOf`.
    """

    def __init__(self, *, provider: str, pen: Pen, subject_of: SubjectOf) -> None:
        self._provider = provider
        self._process, self._now, self._write = pen.process, pen.now, pen.writing
        self._subject_of = subject_of

    def _begin(self, action: str, order_id: str, key: str, deadline_us: int) -> tuple[str, int]:
        """Write that a call begins; returns its subject and when that was."""
        subject, now_us = self._subject_of(order_id), self._now()
        self._write(
            (
                "call.begin",
                now_us,
                self._process,
                subject,
                self._provider,
                action,
                key,
                deadline_us,
            )
        )
        return subject, now_us

    def _failed(
        self,
        action: str,
        begun: tuple[str, int],
        key: str,
        deadline_us: int,
        failure: LabError | CancelledError,
    ) -> None:
        hint_us = failure.after_us if isinstance(failure, Throttled | Down) else 0
        self._end(action, begun, key, deadline_us, result_of(failure), hint_us)

    def _end(
        self,
        action: str,
        begun: tuple[str, int],
        key: str,
        deadline_us: int,
        result: str,
        hint_us: int = 0,
    ) -> None:
        subject, begun_us = begun
        now_us = self._now()
        late_us = now_us - deadline_us
        self._write(
            (
                "call.end",
                now_us,
                self._process,
                subject,
                self._provider,
                action,
                key,
                result,
                max(late_us, 0),
                now_us - begun_us,
                hint_us,
            )
        )


class RecordedGateway(_Calls, PaymentGateway):
    """A payment gateway whose calls are recorded."""

    def __init__(
        self,
        inner: PaymentGateway,
        *,
        pen: Pen,
        subject_of: SubjectOf,
        provider: str = "payment_gateway",
    ) -> None:
        super().__init__(provider=provider, pen=pen, subject_of=subject_of)
        self._inner = inner

    async def charge(
        self, order_id: str, *, key: str, amount_cents: int, currency: str, deadline_us: int
    ) -> GatewayAnswer:
        begun = self._begin("charge", order_id, key, deadline_us)
        try:
            answer = await self._inner.charge(
                order_id,
                key=key,
                amount_cents=amount_cents,
                currency=currency,
                deadline_us=deadline_us,
            )
        except Failure as failure:
            self._failed("charge", begun, key, deadline_us, failure)
            raise
        self._end("charge", begun, key, deadline_us, answer.state._value_)
        return answer

    async def refund(
        self, order_id: str, *, key: str, charge_key: str, amount_cents: int, deadline_us: int
    ) -> GatewayAnswer:
        begun = self._begin("refund", order_id, key, deadline_us)
        try:
            answer = await self._inner.refund(
                order_id,
                key=key,
                charge_key=charge_key,
                amount_cents=amount_cents,
                deadline_us=deadline_us,
            )
        except Failure as failure:
            self._failed("refund", begun, key, deadline_us, failure)
            raise
        self._end("refund", begun, key, deadline_us, answer.state._value_)
        return answer

    async def query(self, order_id: str, *, deadline_us: int) -> tuple[Known, ...]:
        begun = self._begin("query", order_id, "", deadline_us)
        try:
            known = await self._inner.query(order_id, deadline_us=deadline_us)
        except Failure as failure:
            self._failed("query", begun, "", deadline_us, failure)
            raise
        result = known[-1].state._value_ if known else "none"
        self._end("query", begun, "", deadline_us, result)
        return known


class RecordedMailer(_Calls, Mailer):
    """A mailer whose calls are recorded."""

    def __init__(
        self,
        inner: Mailer,
        *,
        pen: Pen,
        subject_of: SubjectOf,
        provider: str = "mailer",
    ) -> None:
        super().__init__(provider=provider, pen=pen, subject_of=subject_of)
        self._inner = inner

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        begun = self._begin("send", order_id, key, deadline_us)
        try:
            await self._inner.send(order_id, key=key, template=template, deadline_us=deadline_us)
        except Failure as failure:
            self._failed("send", begun, key, deadline_us, failure)
            raise
        self._end("send", begun, key, deadline_us, "ok")


class RecordedWarehouse(_Calls, Warehouse):
    """A warehouse whose calls are recorded."""

    def __init__(
        self,
        inner: Warehouse,
        *,
        pen: Pen,
        subject_of: SubjectOf,
        provider: str = "warehouse",
    ) -> None:
        super().__init__(provider=provider, pen=pen, subject_of=subject_of)
        self._inner = inner

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        begun = self._begin("in_stock", order_id, "", deadline_us)
        try:
            is_there = await self._inner.in_stock(order_id, items, deadline_us=deadline_us)
        except Failure as failure:
            self._failed("in_stock", begun, "", deadline_us, failure)
            raise
        self._end("in_stock", begun, "", deadline_us, "yes" if is_there else "no")
        return is_there


class RecordedAntifraud(_Calls, Antifraud):
    """An antifraud service whose calls are recorded."""

    def __init__(
        self,
        inner: Antifraud,
        *,
        pen: Pen,
        subject_of: SubjectOf,
        provider: str = "antifraud",
    ) -> None:
        super().__init__(provider=provider, pen=pen, subject_of=subject_of)
        self._inner = inner

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        begun = self._begin("is_fraud", order_id, "", deadline_us)
        try:
            is_bad = await self._inner.is_fraud(
                order_id, customer_id, amount_cents, deadline_us=deadline_us
            )
        except Failure as failure:
            self._failed("is_fraud", begun, "", deadline_us, failure)
            raise
        self._end("is_fraud", begun, "", deadline_us, "yes" if is_bad else "no")
        return is_bad


class RecordedCustomers(_Calls, CustomerStore):
    """The shop's customers, whose calls are recorded: they have deadlines like a third party's."""

    def __init__(
        self,
        inner: CustomerStore,
        *,
        pen: Pen,
        subject_of: SubjectOf,
        provider: str = "customers",
    ) -> None:
        super().__init__(provider=provider, pen=pen, subject_of=subject_of)
        self._inner = inner

    async def is_blocked(self, order_id: str, customer_id: str, *, deadline_us: int) -> bool:
        begun = self._begin("is_blocked", order_id, customer_id, deadline_us)
        try:
            is_blocked = await self._inner.is_blocked(
                order_id, customer_id, deadline_us=deadline_us
            )
        except Failure as failure:
            self._failed("is_blocked", begun, customer_id, deadline_us, failure)
            raise
        self._end("is_blocked", begun, customer_id, deadline_us, "yes" if is_blocked else "no")
        return is_blocked
