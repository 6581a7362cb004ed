"""The third parties as a process of the lab reaches them: the ports, over a line to each provider.

Not here: the line, and the fate of a request on it (`simulated_wire.py`, `http_client.py`).
"""

from collections.abc import Awaitable
from typing import Protocol

from lab.domain.errors import LabError
from lab.domain.order import Item
from lab.ports.providers import Antifraud, GatewayAnswer, Known, Mailer, PaymentGateway, Warehouse
from lab.providers.antifraud import IS_FRAUD
from lab.providers.core import Answer, Refused, Request
from lab.providers.mailer import SEND
from lab.providers.payment_gateway import CHARGE, QUERY, REFUND
from lab.providers.warehouse import IN_STOCK


class ProviderLine(Protocol):
    """One process's line to one provider."""

    def subject_of(self, order_id: str, /) -> str:
        """The order as `ordinal.send`."""
        ...

    def send(self, request: Request, deadline_us: int) -> Awaitable[Answer]:
        """Send a request once; its answer, `Refused` ones too.

        Raises:
            Transient, Down, Indeterminate: there is no answer, and why.
        """
        ...

    def error(self, refused: Refused) -> LabError:
        """The error that the caller raises for it."""
        ...


class WarehouseClient(Warehouse):
    """The warehouse, as one process reaches it."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line

    async def in_stock(
        self,
        order_id: str,
        items: tuple[Item, ...],
        *,
        deadline_us: int,
    ) -> bool:
        line = self._line
        answer = await line.send(
            Request(IN_STOCK, order_id, line.subject_of(order_id), items=items), deadline_us
        )
        if isinstance(answer, Refused):
            raise line.error(answer)
        return bool(answer)


class AntifraudClient(Antifraud):
    """The antifraud service, as one process reaches it."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        line = self._line
        answer = await line.send(
            Request(
                IS_FRAUD, order_id, line.subject_of(order_id), "", amount_cents, "", customer_id
            ),
            deadline_us,
        )
        if isinstance(answer, Refused):
            raise line.error(answer)
        return bool(answer)


class GatewayClient(PaymentGateway):
    """The payment gateway, as one process reaches it."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line

    async def charge(
        self, order_id: str, *, key: str, amount_cents: int, currency: str, deadline_us: int
    ) -> GatewayAnswer:
        line = self._line
        answer = await line.send(
            Request(CHARGE, order_id, line.subject_of(order_id), key, amount_cents, currency),
            deadline_us,
        )
        return self._moved(answer)

    async def refund(
        self, order_id: str, *, key: str, charge_key: str, amount_cents: int, deadline_us: int
    ) -> GatewayAnswer:
        line = self._line
        answer = await line.send(
            Request(REFUND, order_id, line.subject_of(order_id), key, amount_cents, "", charge_key),
            deadline_us,
        )
        return self._moved(answer)

    async def query(self, order_id: str, *, deadline_us: int) -> tuple[Known, ...]:
        line = self._line
        answer = await line.send(Request(QUERY, order_id, line.subject_of(order_id)), deadline_us)
        if isinstance(answer, Refused):
            raise line.error(answer)
        assert isinstance(answer, tuple)
        return answer

    def _moved(self, answer: Answer) -> GatewayAnswer:
        if isinstance(answer, GatewayAnswer):
            return answer
        assert isinstance(answer, Refused)
        raise self._line.error(answer)


class MailerClient(Mailer):
    """The mailer, as one process reaches it."""

    def __init__(self, line: ProviderLine) -> None:
        self._line = line

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        line = self._line
        answer = await line.send(
            Request(SEND, order_id, line.subject_of(order_id), key, 0, "", template), deadline_us
        )
        if isinstance(answer, Refused):
            raise line.error(answer)


class ProviderClients:
    """The four third parties of one process, each over a line of its own."""

    def __init__(
        self,
        *,
        warehouse: ProviderLine,
        antifraud: ProviderLine,
        gateway: ProviderLine,
        mailer: ProviderLine,
    ) -> None:
        self.warehouse = WarehouseClient(warehouse)
        self.antifraud = AntifraudClient(antifraud)
        self.gateway = GatewayClient(gateway)
        self.mailer = MailerClient(mailer)
