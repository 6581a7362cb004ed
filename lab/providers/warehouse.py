"""The warehouse: knows the stock. Read only: its ledger has its answers."""

from typing import ClassVar, Final

from lab.providers.core import Answer, Request, Server

IN_STOCK: Final = "in_stock"


class WarehouseServer(Server):
    """Says that a share of the orders cannot be shipped. The same order gets the same answer."""

    name: ClassVar[str] = "warehouse"
    objection: ClassVar[str] = "out_of_stock"

    def _do(self, request: Request, _now_us: int) -> Answer:
        return not self._refuses(request.subject)
