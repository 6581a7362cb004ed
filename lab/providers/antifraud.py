"""The antifraud service: knows bad customers. Read only: its ledger has its answers."""

from typing import ClassVar, Final

from lab.providers.core import Answer, Request, Server

IS_FRAUD: Final = "is_fraud"


class AntifraudServer(Server):
    """Takes a share of the orders for fraud. The same order gets the same answer."""

    name: ClassVar[str] = "antifraud"
    objection: ClassVar[str] = "fraud"
    objects_by: ClassVar[bool] = True

    def _do(self, request: Request, _now_us: int) -> Answer:
        return self._refuses(request.subject)
