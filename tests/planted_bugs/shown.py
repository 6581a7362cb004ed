"""Bugs in what a client is shown: of its order, of the list of its customer, of the way to both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import Receive, Scope

from lab.api import _Front, _Hand, _order_id
from lab.api_pages import link_to_next, place_of, read_page
from lab.api_problems import HttpReply
from lab.domain.order import Order
from lab.services.orders import OrdersUseCases
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

LOOKED_AT: Final = Setup(faults=("client.look", "client.large_order#every10"))
"""Who asks for a large order too has two, of which the first is the older one."""


@BUGS.plant(
    "accepted-is-durable",
    "lab.api._order_id",
    setup=LOOKED_AT,
    witness="its client was answered with 404 where it was told that it stands",
)
def id_without_hyphens(answer: bytes) -> str:
    """The address has the id as the column of the old table had it."""
    return _order_id(answer).replace("-", "")


@BUGS.plant(
    "accepted-is-durable",
    "lab.api.is_known",
    setup=LOOKED_AT,
    witness="it was shown as PENDING, and had been VALIDATED before",
)
def known_if_it_has_a_tag(scope: Scope, tag: bytes) -> bool:
    """Whoever sends a tag has read the order once: it need not be sent again."""
    del tag
    return any(name == b"if-none-match" for name, _ in scope["headers"])


@BUGS.plant(
    "accepted-is-durable",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=LOOKED_AT,
    witness="it was shown as PENDING, and had been VALIDATED before",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnce(OrdersUseCases):
    """Reads are many, so an order that was read is kept in the process; nobody throws it out."""

    kept: dict[str, Order | None] = field(default_factory=dict)

    async def get(self, order_id: str) -> Order | None:
        if self.kept.get(order_id) is None:
            self.kept[order_id] = await self.store_get(order_id)
        return self.kept[order_id]

    async def store_get(self, order_id: str) -> Order | None:
        loaded = await self.store.load(order_id)
        return None if loaded is None else loaded.order


@BUGS.plant(
    "accepted-is-durable",
    "lab.wiring.process.roles.OrdersUseCases",
    setup=LOOKED_AT,
    witness="the list of its customer has an order of another one",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPageForAll(OrdersUseCases):
    """A first page is kept for whoever asks again, and handed to whoever asks next."""

    kept: dict[int, Sequence[Order]] = field(default_factory=dict)

    async def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Order]:
        found = await self.store.of_customer(customer_id, before=before, limit=limit)
        if before is not None:
            return found
        shown, self.kept[limit] = self.kept.get(limit, found), found
        return shown


class _ListFront(_Front):
    """Writes the link to the next page by a rule of its own."""

    async def of_customer(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:
        asked = read_page(scope["query_string"])
        reply = await super().of_customer(scope, receive, hand)
        if not any(name == b"link" for name, _ in reply.headers):
            return reply
        found = await self._orders.of_customer(
            asked.customer_id, before=asked.before, limit=asked.limit + 1
        )
        return self._relinked(reply, asked, found)

    def _relinked(self, reply: HttpReply, asked: Any, found: Sequence[Order]) -> HttpReply:
        raise NotImplementedError


@BUGS.plant(
    "accepted-is-durable",
    "lab.api._Front",
    setup=LOOKED_AT,
    witness="the list of its customer leaves it out",
)
class NextBehindTheNext(_ListFront):
    """The next page begins behind the one order more that was read to know of it."""

    def _relinked(self, reply: HttpReply, asked: Any, found: Sequence[Order]) -> HttpReply:
        link = (b"link", link_to_next(asked, place_of(found[asked.limit])))
        return HttpReply(reply.status, reply.body, (reply.headers[0], link))


@BUGS.plant(
    "accepted-is-durable",
    "lab.api._Front",
    setup=LOOKED_AT,
    witness="the list of its customer has an order twice",
)
class NextIsTheSame(_ListFront):
    """The link is the page's own address."""

    def _relinked(self, reply: HttpReply, asked: Any, found: Sequence[Order]) -> HttpReply:
        del found
        same = b'</orders?customer_id=%b&limit=%d>; rel="next"'
        link = (b"link", same % (asked.customer_id.encode(), asked.limit))
        return HttpReply(reply.status, reply.body, (reply.headers[0], link))


@BUGS.plant(
    "accepted-is-durable",
    "lab.api._Front",
    setup=LOOKED_AT,
    witness="its client was answered with 400 for a page of the list of its customer",
)
class NextOfNobody(_ListFront):
    """The link has the place, and not whose orders they are."""

    def _relinked(self, reply: HttpReply, asked: Any, found: Sequence[Order]) -> HttpReply:
        place = place_of(found[asked.limit - 1]).encode()
        link = (b"link", b'</orders?after=%b>; rel="next"' % place)
        return HttpReply(reply.status, reply.body, (reply.headers[0], link))


@BUGS.plant(
    "accepted-is-durable",
    "lab.api._shown",
    setup=LOOKED_AT,
    witness="minor units of",
)
def in_major_units(order: Order) -> Any:
    """A page has amounts as people read them, and the pence are gone."""
    from lab.domain.answers import OrderView

    return OrderView(
        order_id=order.id,
        state=order.state,
        version=order.version,
        currency=order.currency,
        amount_cents=order.amount_cents // 100,
    )
