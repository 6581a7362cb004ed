"""Bugs of the validation: nobody is asked, or about somebody else, or the answer is not heard."""

from typing import Final

from msgspec.structs import replace

from lab.domain.errors import LabError
from lab.domain.events import OrderCreated, OrderRejected, OrderValidated
from lab.domain.order import Item
from lab.ports.service import Context
from lab.providers.clients import AntifraudClient, WarehouseClient
from lab.services.validation import Validation
from lab.stores.memory.store import MemoryOrderStore
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

DECLINING: Final = Setup(scenario="declined-cards", orders=100)
REFUSING: Final = Setup(
    scenario="declined-cards", orders=100, settings=(("validation.rejected_percent", 30),)
)
SILENT: Final = Setup(orders=40, faults=("svc.timeout@antifraud#every20 first=1",))
FAILING: Final = Setup(orders=40, faults=("svc.error@warehouse#every20 first=1",))

VALIDATION: Final = "lab.wiring.process.roles.Validation"
WAREHOUSE: Final = "lab.providers.clients.WarehouseClient"
ANTIFRAUD: Final = "lab.providers.clients.AntifraudClient"


@BUGS.plant(
    "decided-as-told", VALIDATION, setup=DECLINING, witness="it is VALIDATED, and warehouse said"
)
class EverybodyMayBuy(Validation):
    """The questions were commented out for a demonstration, and never came back."""

    async def _ask(self, payload: OrderCreated, context: Context) -> OrderValidated | OrderRejected:  # noqa: ARG002 - the shape of what it replaces
        return OrderValidated(
            order_id=payload.order_id,
            currency=payload.currency,
            amount_cents=payload.amount_cents,
        )


@BUGS.plant(
    "decided-as-told",
    ANTIFRAUD,
    setup=DECLINING,
    witness="it is VALIDATED, and antifraud said nothing",
)
class SmallOrdersAreNeverFraud(AntifraudClient):
    """Orders below a limit are not asked about: nobody told the shop that the limit is gone."""

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        if amount_cents < 5_000:
            return False
        return await super().is_fraud(order_id, customer_id, amount_cents, deadline_us=deadline_us)


@BUGS.plant("decided-as-told", WAREHOUSE, setup=DECLINING, witness="was asked about other goods")
class OnlyTheFirstItem(WarehouseClient):
    """The form of the warehouse takes one item, so the others are never looked for."""

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        return await super().in_stock(order_id, items[:1], deadline_us=deadline_us)


@BUGS.plant("decided-as-told", WAREHOUSE, setup=DECLINING, witness="was asked about other goods")
class OneOfEach(WarehouseClient):
    """The quantity is lost on the way to the warehouse, which has one of everything."""

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        single = tuple(replace(item, quantity=1) for item in items)
        return await super().in_stock(order_id, single, deadline_us=deadline_us)


@BUGS.plant(
    "decided-as-told", ANTIFRAUD, setup=DECLINING, witness="antifraud was asked about customer"
)
class BuyerOfTheOrder(AntifraudClient):
    """Two arguments of the same type changed places: the order's id is sent for the customer's."""

    async def is_fraud(
        self,
        order_id: str,
        customer_id: str,  # noqa: ARG002 - the shape of what it replaces
        amount_cents: int,
        *,
        deadline_us: int,
    ) -> bool:
        return await super().is_fraud(order_id, order_id, amount_cents, deadline_us=deadline_us)


@BUGS.plant("decided-as-told", ANTIFRAUD, setup=DECLINING, witness="antifraud was asked about")
class AmountInWholeUnits(AntifraudClient):
    """Antifraud is told of units where it counts cents, so nothing looks large to it."""

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        return await super().is_fraud(
            order_id, customer_id, amount_cents // 100, deadline_us=deadline_us
        )


@BUGS.plant("decided-as-told", VALIDATION, setup=DECLINING, witness="the record of customer")
class RecordOfTheCountry(Validation):
    """The record is looked up by the field beside the customer's."""

    async def _ask(self, payload: OrderCreated, context: Context) -> OrderValidated | OrderRejected:
        class Misread:
            """Reads by another field."""

            async def is_blocked(self, order_id: str, _: str, *, deadline_us: int) -> bool:
                return await customers.is_blocked(
                    order_id, payload.currency, deadline_us=deadline_us
                )

        customers = self.customers
        wrong = Validation(
            store=self.store,
            customers=Misread(),
            warehouse=self.warehouse,
            antifraud=self.antifraud,
            tasks=self.tasks,
            clock=self.clock,
            timeout_us=self.timeout_us,
            note=self.note,
        )
        return await wrong._ask(payload, context)


@BUGS.plant(
    "decided-as-told",
    ANTIFRAUD,
    setup=SILENT,
    witness="it is VALIDATED, and antifraud said nothing but silent",
)
class SilenceIsConsent(AntifraudClient):
    """Sales should not suffer when antifraud is slow, so no answer counts as a good one."""

    async def is_fraud(
        self, order_id: str, customer_id: str, amount_cents: int, *, deadline_us: int
    ) -> bool:
        try:
            return await super().is_fraud(
                order_id, customer_id, amount_cents, deadline_us=deadline_us
            )
        except LabError:
            return False


@BUGS.plant(
    "decided-as-told",
    WAREHOUSE,
    setup=FAILING,
    witness="it is REJECTED for out_of_stock, and the answers say: nobody objected",
    falls={},
)
class NoAnswerNoGoods(WarehouseClient):
    """Whatever goes wrong at the warehouse, the goods are not there."""

    async def in_stock(self, order_id: str, items: tuple[Item, ...], *, deadline_us: int) -> bool:
        try:
            return await super().in_stock(order_id, items, deadline_us=deadline_us)
        except LabError:
            return False


@BUGS.plant(
    "decided-as-told",
    VALIDATION,
    setup=REFUSING,
    witness="it is VALIDATED, and antifraud said fraud",
)
class OnlyStockCounts(Validation):
    """A condition that is too narrow: only one sort of objection rejects an order."""

    async def _ask(self, payload: OrderCreated, context: Context) -> OrderValidated | OrderRejected:
        verdict = await super()._ask(payload, context)
        if isinstance(verdict, OrderRejected) and verdict.reason == "fraud":
            return OrderValidated(
                order_id=payload.order_id,
                currency=payload.currency,
                amount_cents=payload.amount_cents,
            )
        return verdict


@BUGS.plant(
    "decided-as-told",
    VALIDATION,
    setup=REFUSING,
    witness="it is REJECTED for out_of_stock, and the answers say: ",
)
class AlwaysSoldOut(Validation):
    """The first of the reasons is told, whichever it was."""

    async def _ask(self, payload: OrderCreated, context: Context) -> OrderValidated | OrderRejected:
        verdict = await super()._ask(payload, context)
        if isinstance(verdict, OrderRejected):
            return replace(verdict, reason="out_of_stock")
        return verdict


@BUGS.plant(
    "decided-as-told",
    "lab.stores.memory.store.MemoryOrderStore",
    setup=REFUSING,
    witness="it is VALIDATED, and customers said customer_blocked",
)
class RecordThatNobodyLooksAt(MemoryOrderStore):
    """The statement is sent, and the rows that come back are not."""

    async def is_blocked(self, order_id: str, customer_id: str, *, deadline_us: int) -> bool:
        await super().is_blocked(order_id, customer_id, deadline_us=deadline_us)
        return False


@BUGS.plant(
    "decided-as-told",
    "lab.stores.memory.store.MemoryOrderStore",
    setup=REFUSING,
    witness="it is VALIDATED, and customers said customer_blocked",
)
class StubOfTheRecord(MemoryOrderStore):
    """The stub of the first week was never replaced: nobody is blocked, and nothing is read."""

    async def is_blocked(self, order_id: str, customer_id: str, *, deadline_us: int) -> bool:  # noqa: ARG002 - the shape of what it replaces
        return False
