"""The simulated world's way to the third parties: no wire, but deadlines, crashes and faults.

Not here: what becomes of a request (`line`), what the servers do (one file per
provider).
"""

from collections.abc import Callable

from lab.domain.order import Item
from lab.ports.faults import CallFaults
from lab.ports.providers import Antifraud, GatewayAnswer, Known, Mailer, PaymentGateway, Warehouse
from lab.providers.antifraud import IS_FRAUD, AntifraudServer
from lab.providers.core import Answer, Refused, Request, Server
from lab.providers.mailer import SEND, MailerServer
from lab.providers.payment_gateway import CHARGE, QUERY, REFUND, GatewayServer
from lab.providers.simulated_wire import Caller, Line, Timers
from lab.providers.warehouse import IN_STOCK, WarehouseServer


class SimWarehouse(Warehouse):
    """The warehouse, as one process reaches it."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def in_stock(
        self,
        order_id: str,
        items: tuple[Item, ...],  # noqa: ARG002 - a share of the orders is refused, whatever is in them
        *,
        deadline_us: int,
    ) -> bool:
        line = self._line
        answer = await line.send(
            Request(IN_STOCK, order_id, line.subject_of(order_id)), deadline_us
        )
        if isinstance(answer, Refused):
            raise self._line.error(answer)
        return bool(answer)


class SimAntifraud(Antifraud):
    """The antifraud service, as one process reaches it."""

    def __init__(self, line: Line) -> None:
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
            raise self._line.error(answer)
        return bool(answer)


class SimGateway(PaymentGateway):
    """The payment gateway, as one process reaches it."""

    def __init__(self, line: Line) -> None:
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
            raise self._line.error(answer)
        assert isinstance(answer, tuple)
        return answer

    def _moved(self, answer: Answer) -> GatewayAnswer:
        if isinstance(answer, GatewayAnswer):
            return answer
        assert isinstance(answer, Refused)
        raise self._line.error(answer)


class SimMailer(Mailer):
    """The mailer, as one process reaches it."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        line = self._line
        answer = await line.send(
            Request(SEND, order_id, line.subject_of(order_id), key, 0, "", template), deadline_us
        )
        if isinstance(answer, Refused):
            raise self._line.error(answer)


class SimProviders:
    """The four third parties of one process, each over a line of its own.

    Args:
        warehouse, antifraud, gateway, mailer: the servers of the world.
        caller, timers, subject_of, faults: as of `Line`.
    """

    def __init__(
        self,
        *,
        warehouse: WarehouseServer,
        antifraud: AntifraudServer,
        gateway: GatewayServer,
        mailer: MailerServer,
        caller: Caller,
        timers: Timers,
        subject_of: Callable[[str], str],
        faults: CallFaults | None = None,
    ) -> None:
        def line(server: Server) -> Line:
            return Line(server, caller=caller, timers=timers, subject_of=subject_of, faults=faults)

        self.warehouse = SimWarehouse(line(warehouse))
        self.antifraud = SimAntifraud(line(antifraud))
        self.gateway = SimGateway(line(gateway))
        self.mailer = SimMailer(line(mailer))
