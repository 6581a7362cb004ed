"""Requests over HTTP, as the client and the API tell of them, one named tuple a kind.

They are calls as those of `calls` are: an entry before and one after. Not here: all other calls.
"""

from typing import Final, Literal, NamedTuple

SLIP_SEND: Final = 4_000_000
"""The first send of a cancel of an order that nobody made; its subject has the same number."""


class HttpBeginEntry(NamedTuple):
    """The client sends a request.

    Attributes:
        op: `create` or `cancel`.
        key: the Idempotency-Key, "" without one.
        send: the ordinal of this request for its order, from 1.
        amount_cents, currency, buyer, items: what a `create` asks for, by the client's own count;
            see `lab.history.contents`. buyer is "" of a body that the client itself cannot read.
        customer: the customer's id alone, "" as well.
    """

    kind: Literal["http.begin"]
    t_us: int
    process: str
    subject: str
    op: str
    key: str
    body_sha256: str
    send: int
    amount_cents: int
    currency: str
    buyer: str
    items: str
    customer: str


class HttpEndEntry(NamedTuple):
    """The client's request has an answer, or never gets one.

    Attributes:
        status: 0 without an answer.
        problem: the problem type, "" without one.
        answer: the order id or "".
        answer_digest: short hash of the answer's bytes, "" without one.
        is_unfair: it refuses an order in which the client itself finds no fault, or does not name a
            fault that it surely has; or it accepts one that surely breaks a rule; or it asks to
            come back later, and does not say when. Of a cancel: it says 404 of an order that was
            accepted, or something else of one that nobody made.
    """

    kind: Literal["http.end"]
    t_us: int
    process: str
    subject: str
    op: str
    key: str
    body_sha256: str
    send: int
    status: int
    problem: str
    answer: str
    answer_digest: str
    is_unfair: bool


class ShownEntry(NamedTuple):
    """The client has looked at an order that was accepted; no answer and a 5xx are left out.

    Attributes:
        order_id: of the order that it looks for.
        how: `alone`, or `unchanged` since it was shown so; in the list of its customer `listed` or
            `missing`; or it is not this order, but one that is `twice` in the list, or `of_other`,
            or the first one of `too_many` on a page.
        version, state, amount_cents, currency: as shown; 0 and "" of an answer without an order.
        took_us: since it asked for it.
    """

    kind: Literal["shown"]
    t_us: int
    process: str
    subject: str
    order_id: str
    how: str
    status: int
    version: int
    state: str
    amount_cents: int
    currency: str
    took_us: int


class RequestBeginEntry(NamedTuple):
    """The API begins to answer a request about an order that it can name. Real processes only.

    Attributes:
        op: `create` or `cancel`.
    """

    kind: Literal["request.begin"]
    t_us: int
    process: str
    subject: str
    op: str


class RequestEndEntry(NamedTuple):
    """The API has answered a request about an order, or will not any more. Real processes only.

    Attributes:
        op: `create` or `cancel`.
        status: of the answer, 0 without one.
        took_us: since the request came; an order that was unnamed until then has no begin.
    """

    kind: Literal["request.end"]
    t_us: int
    process: str
    subject: str
    op: str
    status: int
    took_us: int
