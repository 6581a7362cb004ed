"""Real adapters with a script of what goes wrong with their next calls."""

from collections.abc import Callable

from lab.domain.errors import Indeterminate, Transient
from lab.ports.clock import Clock
from lab.ports.pass_through import PassThroughStore
from lab.ports.providers import ChargeState, GatewayAnswer, Known, PaymentGateway
from lab.ports.store import HttpKeyRow, Loaded, OrderStore, Unit, UnitVerdict
from lab.providers.core import Answer, Refused, Request, error_of
from lab.providers.payment_gateway import CHARGE, QUERY, REFUND, GatewayServer
from lab.stores.memory.base import crossing

SUBJECT = "1.1"


class Gateway(PaymentGateway):
    """The real gateway's core, with a script of what goes wrong with the next moves of money.

    `lose`: executed, the answer is lost. `never`: lost before it was executed. `500`: a stored
    error. `refused`: 503, nothing stored. `deny`: a refusal that leaves no trace. A callable runs
    in the middle of the call. A request whose caller has died is dropped at its deadline.
    """

    def __init__(self, clock: Clock, server: GatewayServer) -> None:
        self._clock = clock
        self._server = server
        self.script: list[str | Callable[[], object]] = []
        self.sent: list[str] = []
        self.deadlines: list[int] = []
        self.queries = 0
        self._in_flight: list[tuple[Request, int]] = []

    async def charge(
        self, order_id: str, *, key: str, amount_cents: int, currency: str, deadline_us: int
    ) -> GatewayAnswer:
        request = Request(CHARGE, order_id, SUBJECT, key, amount_cents, currency)
        return await self._move(request, deadline_us)

    async def refund(
        self, order_id: str, *, key: str, charge_key: str, amount_cents: int, deadline_us: int
    ) -> GatewayAnswer:
        request = Request(REFUND, order_id, SUBJECT, key, amount_cents, "", charge_key)
        return await self._move(request, deadline_us)

    async def query(self, order_id: str, *, deadline_us: int) -> tuple[Known, ...]:
        assert deadline_us > self._clock.now_us()
        self.queries += 1
        await crossing()
        self._drop_late()
        answer = self._server.execute(Request(QUERY, order_id, SUBJECT))
        assert isinstance(answer, tuple)
        return answer

    async def _move(self, request: Request, deadline_us: int) -> GatewayAnswer:
        self.sent.append(request.key)
        self.deadlines.append(deadline_us)
        act = self.script.pop(0) if self.script else "ok"
        self._drop_late()
        conflict = self._server.arrive(request)
        if conflict is not None:
            raise error_of("gateway", conflict)
        sent = (request, deadline_us)
        self._in_flight.append(sent)
        await crossing()
        self._drop_late()
        if not any(each is sent for each in self._in_flight):
            raise Indeterminate("no answer before the deadline")
        self._in_flight = [each for each in self._in_flight if each is not sent]
        answer = self._execute(request, act)
        await crossing()
        if act == "lose":
            raise Indeterminate("no answer before the deadline")
        if isinstance(answer, Refused):
            raise error_of("gateway", answer)
        assert isinstance(answer, GatewayAnswer)
        return answer

    def _execute(self, request: Request, act: str | Callable[[], object]) -> Answer:
        if act in ("never", "refused", "500", "deny"):
            self._server.drop(request)
        if act == "never":
            raise Indeterminate("no answer before the deadline")
        if act == "refused":
            raise Transient("the gateway answered 503")
        if act == "500":
            self._server.keep_failure(request, Refused(500))
            return Refused(500)
        if act == "deny":
            return GatewayAnswer(state=ChargeState.DECLINED, reason="denied")
        answer = self._server.execute(request)
        if callable(act):
            act()
        return answer

    def _drop_late(self) -> None:
        now_us = self._clock.now_us()
        for request, deadline_us in self._in_flight:
            if now_us >= deadline_us:
                self._server.drop(request)
        self._in_flight = [each for each in self._in_flight if now_us < each[1]]


class Flaky(PassThroughStore):
    """A store whose next commits or looks go wrong.

    Entries of `commits`: an error raised instead of the commit; `("after", error)`: raised after
    it. Entries of `looks` are raised instead of a load or a look for an HTTP key. None: goes well.
    """

    def __init__(self, inner: OrderStore) -> None:
        super().__init__(inner)
        self.commits: list[Exception | tuple[str, Exception] | None] = []
        self.looks: list[Exception | None] = []

    async def commit(self, unit: Unit) -> UnitVerdict:
        wrong = self.commits.pop(0) if self.commits else None
        if isinstance(wrong, Exception):
            raise wrong
        verdict = await self._inner.commit(unit)
        if wrong is not None:
            raise wrong[1]
        return verdict

    async def load(self, order_id: str) -> Loaded | None:
        self._look()
        return await self._inner.load(order_id)

    async def http_key(self, key: str) -> HttpKeyRow | None:
        self._look()
        return await self._inner.http_key(key)

    def _look(self) -> None:
        wrong = self.looks.pop(0) if self.looks else None
        if wrong is not None:
            raise wrong
