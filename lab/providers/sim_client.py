"""The simulated world's way to the third parties: no wire, but deadlines, crashes and faults.

Not here: the fate of a request (`simulated_wire.py`), the servers (one file per provider).
"""

from collections.abc import Callable

from lab.ports.faults import CallFaults
from lab.providers.antifraud import AntifraudServer
from lab.providers.clients import ProviderClients
from lab.providers.core import Server
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.simulated_wire import Caller, SimulatedWire, WireTimers
from lab.providers.warehouse import WarehouseServer


class SimProviders(ProviderClients):
    """The four third parties of one process, each over a line of its own.

    Args:
        warehouse, antifraud, gateway, mailer: the servers of the world.
        caller, timers, subject_of, faults: as of `SimulatedWire`.
    """

    def __init__(
        self,
        *,
        warehouse: WarehouseServer,
        antifraud: AntifraudServer,
        gateway: GatewayServer,
        mailer: MailerServer,
        caller: Caller,
        timers: WireTimers,
        subject_of: Callable[[str], str],
        faults: CallFaults | None = None,
    ) -> None:
        def line(server: Server) -> SimulatedWire:
            return SimulatedWire(
                server, caller=caller, timers=timers, subject_of=subject_of, faults=faults
            )

        super().__init__(
            warehouse=line(warehouse),
            antifraud=line(antifraud),
            gateway=line(gateway),
            mailer=line(mailer),
        )
