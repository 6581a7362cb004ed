"""The wire to a third party and back: paths, headers, bodies.

A deadline travels twice. As the rest of the time, which needs no common clock; and as an
instant, because a request may lie in a buffer while one of the two sides is stopped, and must not
be executed when that side wakes up. The nearer one counts.

Not here: sockets and statuses of failures (`http_client`, `http_front`).
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from lab.domain.order import Item
from lab.ports.providers import GatewayAnswer, Known
from lab.providers.antifraud import IS_FRAUD
from lab.providers.core import Answer, Request
from lab.providers.mailer import SEND
from lab.providers.payment_gateway import CHARGE, QUERY, REFUND
from lab.providers.warehouse import IN_STOCK

T = TypeVar("T")

TIMEOUT_MS: Final = "lab-timeout-ms"
"""Header: how long from now the caller waits."""
DEADLINE_MS: Final = "lab-deadline-ms"
"""Header: until when the caller waits, on the wall clock, since the Unix epoch."""
SUBJECT: Final = "lab-subject"
"""Header: the order as `ordinal.send`."""
KEY: Final = "idempotency-key"
RETRY_AFTER: Final = "retry-after"
REPLAYED: Final = "idempotent-replayed"
"""Header: `true` on the stored answer to an earlier request; its name is Stripe's."""
RETRY_AFTER_MS: Final = "retry-after-ms"
"""Header: the hint of `retry-after`, to the millisecond."""

ACTIONS: Final = {
    "warehouse": (IN_STOCK,),
    "antifraud": (IS_FRAUD,),
    "payment_gateway": (CHARGE, REFUND, QUERY),
    "mailer": (SEND,),
}
"""The requests that each provider takes."""

MOVES: Final = (CHARGE, REFUND, SEND)
"""The requests that change something, and therefore take a key."""


GARBAGE: Final = b'{"state":"capt'
"""Body of an answer that was cut off: no parser takes it."""


class Asked(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of a request. See `Request`."""

    order_id: str
    amount_cents: int = 0
    currency: str = ""
    about: str = ""
    items: tuple[Item, ...] = ()


class YesOrNo(msgspec.Struct, frozen=True, gc=False):
    """Body of the answer to a question."""

    answer: bool


class AllKnown(msgspec.Struct, frozen=True, gc=False):
    """Body of a query's answer."""

    known: tuple[Known, ...]


class MalformedExchange(Exception):
    """A body that is none of the above."""


def path_of(provider: str, action: str) -> str:
    """Where a provider takes requests for `action`."""
    return f"/{provider}/{action}"


encode: Final = msgspec.json.Encoder().encode


def body_of_request(request: Request) -> bytes:
    """The body of a request; its key and subject are headers."""
    return encode(
        Asked(
            request.order_id,
            request.amount_cents,
            request.currency,
            request.about,
            request.items,
        )
    )


def body_of_answer(answer: Answer) -> bytes:
    """The body of a success."""
    if isinstance(answer, bool):
        return encode(YesOrNo(answer))
    if isinstance(answer, tuple):
        return encode(AllKnown(answer))
    return encode(answer)


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedExchange(str(error)) from None

    return read


read_asked: Final = _reader(Asked)
_read_yes_or_no: Final = _reader(YesOrNo)
_read_known: Final = _reader(AllKnown)
_read_moved: Final = _reader(GatewayAnswer)


def read_answer(action: str, body: bytes) -> Answer:
    """The answer in the body of a success.

    Raises:
        Malformed: it is none to this action.
    """
    if action in (CHARGE, REFUND):
        return _read_moved(body)
    if action == QUERY:
        return _read_known(body).known
    return _read_yes_or_no(body).answer
