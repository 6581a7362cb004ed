"""The HTTP front of the orders service: bytes and headers in, answers and problems out.

Endpoints are plain ASGI behind Starlette's routes: no threads, no copies of the request. Any bad
input is answered with a 4xx that says how to mend it. Not here: the rules for an order
(`lab.domain.request`), its life (`lab.services.orders`).

Source: RFC 9457 (problem details), RFC 9110 (statuses).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.api_pages import link_to_next, place_of, read_page
from lab.api_problems import (
    JSON,
    Headers,
    HttpProblem,
    HttpReply,
    not_made,
    retry_after,
    shed,
    unknown,
    unready,
)
from lab.api_requests import (
    ClientGone,
    is_json,
    is_known,
    path_id,
    read_body,
    read_headers,
    read_subject,
)
from lab.domain.answers import INDETERMINATE, CancelledOrder, OrderPage, OrderView
from lab.domain.errors import Down, Indeterminate, Transient
from lab.domain.order import Order
from lab.domain.request import (
    Malformed,
    parse_order,
    spelled,
)
from lab.openapi import openapi_document
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.services.orders import Cancelled, OrdersUseCases

_REQUEST_ID: Final = b"x-request-id"
_IS_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}").fullmatch
_KEPT: Final = re.compile(rb"%(2[fF5])")

_encode: Final = msgspec.json.Encoder().encode


class Door:
    """Counts the requests in hand, and says which are let in. This one lets everybody in.

    A request is in hand from when it is there whole, body and all, until it is answered: one whose
    client stalls costs nobody else his place.
    """

    def enter(self) -> None:
        """A request is there."""

    def admits(self) -> bool:
        """Whether a request that brings work is let in, asked once; it has entered already.

        If not, it is shed, and nothing is stored.
        """
        return True

    def leave(self) -> None:
        """A request that entered was answered, or failed."""

    async def is_ready(self) -> bool:
        """Whether the process is to be given new work: what a probe is told."""
        return True


class _Hand:
    """One request's place in the hands of the process."""

    __slots__ = ("_door", "is_in")

    def __init__(self, door: Door) -> None:
        self._door = door
        self.is_in = False

    def hold(self) -> None:
        """Take it in hand, whatever else there is to do."""
        self.is_in = True
        self._door.enter()

    def hold_if_admitted(self) -> None:
        """Take it in hand, or shed it."""
        self.hold()
        if not self._door.admits():
            raise unready()


_Handle = Callable[[Scope, Receive, _Hand], Awaitable[HttpReply]]


def make_app(orders: OrdersUseCases, door: Door, *, subject_header: str = "") -> ASGIApp:
    """The ASGI app.

    Args:
        orders: the work for its clients.
        door: every request that is about an order comes through it.
        subject_header: name of the header that carries `ordinal.send` in a lab run, such as
            `lab-subject`; "" takes none.
    """
    front = _Front(orders, door, subject_header.lower().encode())
    handles: tuple[tuple[str, str, _Handle], ...] = (
        ("POST", "/orders", front.create),
        ("GET", "/orders", front.of_customer),
        ("GET", "/orders/{id}", front.get),
        ("POST", "/orders/{id}/cancel", front.cancel),
        ("GET", "/health", front.health),
        ("GET", "/ready", front.ready),
        ("GET", "/openapi.json", front.openapi),
    )
    paths: dict[str, dict[str, _Endpoint]] = {}
    for method, path, handle in handles:
        paths.setdefault(path, {})[method] = _Endpoint(path, handle, door)
    return _App(paths)


class _App:
    """Finds the endpoint of a request; one that no route takes is answered with a problem.

    A path without a parameter needs no search, and nearly every request is a POST to one.
    """

    def __init__(self, paths: Mapping[str, Mapping[str, "_Endpoint"]]) -> None:
        self._plain = {path: of for path, of in paths.items() if "{" not in path}
        # One route a path: of several the router would name the methods of the first alone.
        routes = [Route(path, _Path(path, of), methods=list(of)) for path, of in paths.items()]
        # A redirect would answer 307 in place of 404.
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] = _path_to_route(scope)
        if path in self._plain and (endpoint := self._plain[path].get(scope["method"])):
            scope["endpoint"] = endpoint
            await endpoint(scope, receive, send)
            return
        # With an app in sight it raises the answer that it would give in plain text.
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except HTTPException as refused:
            await _send(scope, send, _refused(scope, refused))


def _path_to_route(scope: Scope) -> str:
    """The path, decoded but for %2F and %25: a slash in an id ends no segment."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%" not in raw:
        path: str = scope["path"]
        return path
    return unquote(_KEPT.sub(rb"%25\1", raw).decode("latin-1"))


class _Path:
    """One path, whatever method it is asked with; `route` is its name in counts."""

    def __init__(self, route: str, methods: Mapping[str, ASGIApp]) -> None:
        self.route = route
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        await self._methods["GET" if method == "HEAD" else method](scope, receive, send)


class _Endpoint:
    """Turns the result or the error of a handler into messages; `route` is its name in counts."""

    def __init__(self, route: str, handle: _Handle, door: Door) -> None:
        self.route = route
        self._handle = handle
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hand = _Hand(self._door)
        try:
            try:
                reply = await self._handle(scope, receive, hand)
            except ClientGone:
                return
            except HttpProblem as problem:
                reply = problem.reply
            except Exception as error:
                passing = _reply_to(error)
                await _send(scope, send, passing or _BUG)
                if passing is None:
                    raise
                return
            await _send(scope, send, reply)
        finally:
            if hand.is_in:
                self._door.leave()


def _reply_to(error: Exception) -> HttpReply | None:
    """The answer to an error of the order system; None: a bug of ours, and it may be stored."""
    if isinstance(error, Transient | Down):
        return shed(error).reply
    if isinstance(error, Indeterminate):
        detail = "nobody knows whether it was stored: ask again, under the same key"
        return HttpProblem(INDETERMINATE, detail, headers=retry_after(0)).reply
    return None


_BUG: Final = HttpProblem("internal", "the order service failed: ask again").reply


class _Front:
    """The handlers, one a route."""

    def __init__(self, orders: OrdersUseCases, door: Door, subject_header: bytes) -> None:
        self._orders = orders
        self._door = door
        self._subject_header = subject_header

    async def create(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:
        """POST /orders: 201, or every reason why not."""
        asked = read_headers(scope, self._subject_header)
        if asked.content_type != b"application/json" and not is_json(asked.content_type):
            raise HttpProblem("media-type", "the body must be application/json in UTF-8")
        if asked.encoding not in (b"", b"identity"):
            detail = "the body must come without a Content-Encoding"
            raise HttpProblem("media-type", detail, headers=((b"accept-encoding", b"identity"),))
        subject = read_subject(asked.subject)
        body = await read_body(receive, asked.content_length)
        hand.hold_if_admitted()
        try:
            parsed = parse_order(body)
        except Malformed as bad:
            raise HttpProblem("malformed-json", str(bad)) from None
        if isinstance(parsed, list):
            detail = f"{len(parsed)} reasons against this order: see errors"
            raise HttpProblem("order-refused", detail, refusals=parsed)
        made = await self._orders.create(
            parsed,
            body=spelled(parsed),
            key=asked.key,
            lab_subject=subject,
            trace=asked.trace,
        )
        if isinstance(made, StoredAnswer):
            location = b"/orders/" + _order_id(made.body).encode()
            return HttpReply(made.status, made.body, (JSON, (b"location", location)))
        raise not_made(made)

    async def get(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """GET /orders/{id}: 200 or 404."""
        hand.hold()
        order_id = path_id(scope)
        order = await self._orders.get(order_id)
        if order is None:
            raise unknown(order_id)
        shown = _shown(order)
        tag = b'"%d"' % order.version
        headers: Headers = (JSON, (b"etag", tag))
        if is_known(scope, tag):
            return HttpReply(304, b"", headers[1:])
        return HttpReply(200, _encode(shown), headers)

    async def of_customer(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """GET /orders?customer_id=C1: 200, a page of orders, the newest first."""
        hand.hold()
        asked = read_page(scope["query_string"])
        # One more than asked for tells whether there is another page.
        found = await self._orders.of_customer(
            asked.customer_id, before=asked.before, limit=asked.limit + 1
        )
        shown = [_shown(order) for order in found[: asked.limit]]
        if len(found) <= asked.limit:
            return HttpReply(200, _encode(OrderPage(shown)))
        place = place_of(found[asked.limit - 1])
        link = (b"link", link_to_next(asked, place))
        return HttpReply(200, _encode(OrderPage(shown, place)), (JSON, link))

    async def cancel(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """POST /orders/{id}/cancel: 200, however often; 404; 409 once it is too late."""
        key = read_headers(scope, self._subject_header).key
        hand.hold_if_admitted()
        order_id = path_id(scope)
        met = await self._orders.cancel(order_id, key=key)
        if isinstance(met, KeyRefusal):
            raise not_made(met)
        if met is Cancelled.UNKNOWN:
            raise unknown(order_id)
        if met is Cancelled.TOO_LATE:
            raise HttpProblem("too-late", f"order {order_id} can be cancelled no more")
        return HttpReply(200, _encode(CancelledOrder(order_id)))

    async def health(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """GET /health: its loop turns."""
        return HttpReply(200, b'{"status":"ok"}')

    async def ready(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """GET /ready: new work is welcome here. Being busy is not unready."""
        if not await self._door.is_ready():
            raise unready()
        return HttpReply(200, b'{"status":"ready"}')

    async def openapi(self, scope: Scope, receive: Receive, hand: _Hand) -> HttpReply:  # noqa: ARG002 - the shape of a route
        """GET /openapi.json: all of this, for programs."""
        return HttpReply(200, openapi_document())


def _shown(order: Order) -> OrderView:
    return OrderView(
        order_id=order.id,
        state=order.state,
        version=order.version,
        currency=order.currency,
        amount_cents=order.amount_cents,
    )


class _Stored(msgspec.Struct, gc=False):
    order_id: str


_stored: Final = msgspec.json.Decoder(_Stored)


def _order_id(answer: bytes) -> str:
    return _stored.decode(answer).order_id


async def _send(scope: Scope, send: Send, reply: HttpReply) -> None:
    # Of a 304 it would have to be the length of the body that is not sent.
    length = () if reply.status == 304 else ((b"content-length", b"%d" % len(reply.body)),)
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [*reply.headers, *length, *_request_id(scope)],
        }
    )
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> Headers:
    """The client's own name for its request, for whoever compares two logs."""
    for name, value in scope["headers"]:
        if name == _REQUEST_ID and _IS_REQUEST_ID(value):
            return ((name, value),)
    return ()


def _refused(scope: Scope, error: HTTPException) -> HttpReply:
    """An unknown path, or a method that is not for it."""
    if error.status_code == 405:
        # The router joins a set: its order would differ from process to process.
        allowed = sorted((error.headers or {}).get("Allow", "").split(", "))
        allow = ", ".join(allowed)
        detail = f"{scope['method'][:20]!a} is not for this path: take {allow}"
        headers: Headers = ((b"allow", allow.encode()),)
        return HttpProblem("method-not-allowed", detail, headers=headers).reply
    detail = f"there is nothing at {scope['path'][:80]!a}"
    return HttpProblem("not-found", detail).reply
