"""The warehouse: knows the stock. Read only, so it has no ledger."""

from typing import ClassVar, Final

from lab.providers.core import Answer, Request, Server

IN_STOCK: Final = "in_stock"


class WarehouseServer(Server):
    """Says that a share of the orders cannot be shipped. The same order gets the same answer."""

    name: ClassVar[str] = "warehouse"

    def _do(self, request: Request, _now_us: int) -> Answer:
        return not self._refuses(request.subject)
