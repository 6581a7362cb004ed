"""The HTTP front, called through its full stack: statuses, problems, and nothing that breaks it."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp

from lab.api import Door, make_app
from lab.domain.answers import INDETERMINATE, PROBLEM, SHED
from lab.domain.errors import Down, Indeterminate, Transient
from lab.domain.order import Order, OrderState
from lab.domain.request import BODY_BYTES_MAX
from lab.domain.trace_context import parted
from lab.ports.http import HttpAnswer
from lab.ports.ids import Ids
from lab.runtime.asgi_call import Message, call
from lab.runtime.ids import SeededIds
from lab.services.orders import OrdersUseCases
from tests.kit.order_world import ID, World, make_desk
from tests.kit.scripted import Flaky
from tests.kit.virtual_steps import run, step

S = OrderState
JSON = ("content-type", "application/json")
MUG = {"sku": "mug", "quantity": 2, "unit_price_cents": 450}
GOOD = json.dumps({"customer_id": "C1", "currency": "EUR", "items": [MUG]}).encode()


class Shop(Door):
    """The app over a world."""

    def __init__(
        self, world: World | None = None, store: Flaky | None = None, ids: Ids | None = None
    ) -> None:
        self.world = world or World()
        self.is_welcoming = self.is_open = True
        self.in_hand = 0
        desk = make_desk(self.world, store) if store else self.world.desk
        if ids is not None:
            desk = make_desk(self.world, ids=ids)
        self.app: ASGIApp = make_app(desk, self, subject_header="lab-subject")

    def enter(self) -> None:
        self.in_hand += 1

    def leave(self) -> None:
        self.in_hand -= 1

    def admits(self) -> bool:
        return self.is_open

    async def is_ready(self) -> bool:
        return self.is_welcoming

    def ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | Sequence[bytes] = b"",
        query: bytes = b"",
    ) -> HttpAnswer:
        answer = run(call(self.app, method, path, headers, body, query=query))
        assert isinstance(answer, HttpAnswer)
        length = dict(answer.headers).get("content-length")
        assert method == "HEAD" or length == (
            None if answer.status == 304 else str(len(answer.body))
        )
        return answer

    def post(self, body: bytes | Sequence[bytes] = GOOD, *headers: tuple[str, str]) -> HttpAnswer:
        return self.ask("POST", "/orders", (JSON, *headers), body)


def problem(answer: HttpAnswer, status: int, name: str) -> dict[str, Any]:
    """The problem, after checking that it is one."""
    assert dict(answer.headers)["content-type"] == "application/problem+json"
    told = json.loads(answer.body)
    assert isinstance(told, dict)
    assert (answer.status, told["status"], told["type"]) == (status, status, PROBLEM + name)
    assert told["title"]
    assert told["detail"]
    return told


# ---- create


def test_an_order_is_created_with_its_place() -> None:
    shop = Shop()
    answer = shop.post(GOOD, ("lab-subject", "1.1"))
    assert answer.status == 201
    assert json.loads(answer.body) == {"order_id": ID, "state": "PENDING"}
    headers = dict(answer.headers)
    assert headers["location"] == f"/orders/{ID}"
    assert headers["content-type"] == "application/json"
    assert shop.world.order().lab_subject == "1.1"


def test_the_same_key_gives_the_same_answer_and_place() -> None:
    shop = Shop()
    first = shop.post(GOOD, ("idempotency-key", "k1"))
    assert shop.post(GOOD, ("idempotency-key", "k1")) == first
    assert len(shop.world.events) == 1


def test_the_same_key_with_another_body_is_refused() -> None:
    shop = Shop()
    shop.post(GOOD, ("idempotency-key", "k1"))
    again = shop.post(GOOD.replace(b"450", b"451"), ("idempotency-key", "k1"))
    problem(again, 422, "idempotency-key-reused")


def test_a_key_whose_request_runs_is_a_conflict() -> None:
    shop = Shop()
    headers = (JSON, ("idempotency-key", "k1"))
    job = call(shop.app, "POST", "/orders", headers, GOOD)
    assert step(job)
    problem(shop.post(GOOD, ("idempotency-key", "k1")), 409, "idempotency-key-running")
    assert run(job).status == 201


def test_a_refused_order_names_every_reason_and_leaves_nothing() -> None:
    shop = Shop()
    body = json.dumps({"items": [MUG | {"quantity": 0}, MUG | {"sku": 7}]}).encode()
    told = problem(shop.post(body, ("idempotency-key", "k1")), 422, "order-refused")
    assert [(each["reason"], each["field"]) for each in told["errors"]] == [
        ("customer_missing", "customer_id"),
        ("currency_unknown", "currency"),
        ("quantity_below_1", "items[0].quantity"),
        ("type_wrong", "items[1].sku"),
    ]
    assert shop.world.events == []
    # The key was not used up.
    assert shop.post(GOOD, ("idempotency-key", "k1")).status == 201


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 50_000, b"NaN"])
def test_malformed_json_is_a_bad_request(body: bytes) -> None:
    problem(Shop().post(body), 400, "malformed-json")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json; charset=utf-16", "application/jsonx", "a/b; c", ";"],
)
def test_another_media_type_is_not_taken(content_type: str) -> None:
    headers = [("content-type", content_type)] if content_type else []
    problem(Shop().ask("POST", "/orders", headers, GOOD), 415, "media-type")


def test_a_packed_body_is_not_taken_for_broken_json() -> None:
    headers = [("content-type", "application/json"), ("content-encoding", "gzip")]
    problem(Shop().ask("POST", "/orders", headers, gzip.compress(GOOD)), 415, "media-type")


@pytest.mark.parametrize(
    "content_type", ['application/json;charset="UTF-8"', "Application/JSON ; charset=utf8; x=1"]
)
def test_json_in_utf_8_is_taken_however_it_is_spelled(content_type: str) -> None:
    answer = Shop().ask("POST", "/orders", [("content-type", content_type)], GOOD)
    assert answer.status == 201


BIG = b" " * (BODY_BYTES_MAX + 1 - len(GOOD)) + GOOD


@pytest.mark.parametrize("length", [None, str(len(BIG)), "5", "-1", "many", "9" * 30])
@pytest.mark.parametrize("size", [len(BIG), 65_536, 1_000])
def test_a_body_over_the_limit_is_refused_however_it_comes(length: str | None, size: int) -> None:
    chunks = [BIG[start : start + size] for start in range(0, len(BIG), size)]
    headers = () if length is None else (("content-length", length),)
    problem(Shop().post(chunks, *headers), 413, "body-too-large")


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    reads = 0

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": GOOD, "more_body": False}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"999999")],
    }
    run(_awaited(Shop().app(scope, receive, send)))
    assert (sent[0]["status"], reads) == (413, 0)


async def _awaited(answer: Any) -> None:
    await answer


def test_a_body_at_the_limit_in_single_bytes_is_taken() -> None:
    body = BIG[1:]
    shop = Shop()
    assert shop.post([body[place : place + 1] for place in range(len(body))]).status == 201


def test_a_client_that_hangs_up_gets_no_order() -> None:
    shop = Shop()
    messages: list[Message] = [
        {"type": "http.request", "body": GOOD, "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [(b"content-type", b"application/json")],
    }
    run(_awaited(shop.app(scope, receive, send)))
    assert (sent, shop.world.events) == ([], [])


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "k\x00", "ä", "\x7f"])
def test_an_unprintable_or_endless_key_is_refused(key: str) -> None:
    problem(Shop().post(GOOD, ("idempotency-key", key)), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("key", ['"', '"k', '""', r'"\k"', '"k"x', '"k";', '"ä"'])
def test_what_begins_like_a_string_must_be_one(key: str) -> None:
    problem(Shop().post(GOOD, ("idempotency-key", key)), 400, "idempotency-key-invalid")


@pytest.mark.parametrize(
    ("one", "other"),
    [("abc", '"abc"'), ('"abc"', '"abc";a=1'), (r'"a\"\\b"', r'a"\b'), ('"a b"', "a b")],
)
def test_a_key_is_one_key_as_a_string_and_as_a_bare_token(one: str, other: str) -> None:
    shop = Shop()
    first = shop.post(GOOD, ("idempotency-key", one))
    assert shop.post(GOOD, ("idempotency-key", other)).body == first.body
    assert shop.world.told() == ["OrderCreated"]
    assert shop.post(GOOD, ("idempotency-key", one), ("idempotency-key", other)).status == 201


@pytest.mark.parametrize(
    "same",
    [
        json.dumps(json.loads(GOOD), indent=3).encode(),
        json.dumps(json.loads(GOOD), sort_keys=True).encode(),
        json.dumps({**json.loads(GOOD), "note": "unread", "country": None}).encode(),
        GOOD.replace(b"mug", rb"m\u0075g"),
    ],
)
def test_bodies_that_mean_the_same_are_the_same_request(same: bytes) -> None:
    shop = Shop()
    first = shop.post(GOOD, ("idempotency-key", "k1"))
    assert shop.post(same, ("idempotency-key", "k1")).body == first.body
    other = GOOD.replace(b"450", b"451")
    problem(shop.post(other, ("idempotency-key", "k1")), 422, "idempotency-key-reused")


def test_two_keys_for_one_request_are_refused() -> None:
    keys = (("idempotency-key", "k1"), ("idempotency-key", "k2"))
    problem(Shop().post(GOOD, *keys), 400, "idempotency-key-invalid")


@pytest.mark.parametrize("subject", ["x", "1", "1.", ".1", "1.1.1", "-1.1", "1" * 40 + ".1", "²"])
def test_a_subject_that_is_none_is_refused(subject: str) -> None:
    problem(Shop().post(GOOD, ("lab-subject", subject)), 400, "subject-invalid")


def test_outside_of_a_lab_run_nobody_chooses_a_subject() -> None:
    world = World()
    app = make_app(world.desk, Door())
    answer = run(call(app, "POST", "/orders", (JSON, ("lab-subject", "7.1")), GOOD))
    assert answer.status == 201
    assert world.order().lab_subject == world.order().id


# ---- get and cancel


def test_an_order_is_shown() -> None:
    shop = Shop()
    shop.post()
    answer = shop.ask("GET", f"/orders/{ID}")
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "order_id": ID,
        "state": "PENDING",
        "version": 1,
        "currency": "EUR",
        "amount_cents": 900,
    }
    head = shop.ask("HEAD", f"/orders/{ID}")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("order_id", ["nobody", "x" * 65, "a\0b", "ü", "\ud800", " ", "a\nb"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_order_is_not_found(order_id: str, method: str) -> None:
    path = f"/orders/{order_id}" + ("/cancel" if method == "POST" else "")
    problem(Shop().ask(method, path), 404, "not-found")


def test_an_order_that_has_not_changed_is_not_shown_again() -> None:
    shop = Shop()
    shop.post()
    first = shop.ask("GET", f"/orders/{ID}")
    tag = dict(first.headers)["etag"]
    assert tag == f'"{json.loads(first.body)["version"]}"'
    for known in (tag, f"W/{tag}", f'"0", {tag}', "*"):
        again = shop.ask("GET", f"/orders/{ID}", [("if-none-match", known)])
        assert (again.status, again.body, dict(again.headers)["etag"]) == (304, b"", tag)
    shop.ask("POST", f"/orders/{ID}/cancel")
    changed = shop.ask("GET", f"/orders/{ID}", [("if-none-match", tag)])
    assert changed.status == 200
    assert dict(changed.headers)["etag"] != tag


@pytest.mark.parametrize("order_id", ["a/b", "a%b", "a%2Fb", "/", "a/cancel", "%"])
def test_an_id_may_hold_what_has_a_meaning_in_paths(order_id: str) -> None:
    asked: list[str] = []

    class Desk(OrdersUseCases):
        async def get(self, order_id: str) -> Order | None:
            asked.append(order_id)
            return await super().get(order_id)

    plain = World().desk
    desk = Desk(**{one.name: getattr(plain, one.name) for one in fields(plain)})
    path = "/orders/" + quote(order_id, safe="")
    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "headers": [],
        "query_string": b"",
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("it has no body")

    run(_awaited(make_app(desk, Door())(scope, receive, send)))
    assert asked == [order_id]
    assert sent[0]["status"] == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_id_comes_back_with_every_answer(method: str) -> None:
    for path in ("/orders", "/orders/1", "/health", "/nowhere"):
        answer = Shop().ask(method, path, [("x-request-id", "r-1")])
        assert dict(answer.headers)["x-request-id"] == "r-1"
    for odd in ("", "ä", "a b", "x" * 129):
        answer = Shop().ask(method, "/health", [("x-request-id", odd)])
        assert "x-request-id" not in dict(answer.headers)


def test_an_order_goes_on_in_the_trace_of_its_client() -> None:
    parent = f"00-{'c' * 32}-{'d' * 16}-01"
    for headers, goes_on in (
        ([("traceparent", parent), ("tracestate", "x=1"), ("tracestate", "y=2")], "x=1,y=2"),
        ([("traceparent", parent)], ""),
        ([("traceparent", "what?"), ("tracestate", "x=1")], None),
        ([("traceparent", parent), ("traceparent", parent)], None),
        # The traces of a lab run can be computed, by everybody.
        ([("traceparent", parent), ("lab-subject", "1.1")], None),
    ):
        shop = Shop()
        assert shop.post(GOOD, *headers).status == 201
        context, state = parted(shop.world.order().traceparent)
        assert (context == parent) is (goes_on is not None)
        assert state == (goes_on or "")


def test_an_open_order_is_cancelled_as_often_as_asked() -> None:
    shop = Shop()
    shop.post()
    for _ in range(2):
        answer = shop.ask("POST", f"/orders/{ID}/cancel")
        assert answer.status == 200
        assert json.loads(answer.body) == {"order_id": ID, "state": "CANCELLED"}


def test_a_cancel_under_a_key_gets_its_answer_again_and_its_key_stands_for_nothing_else() -> None:
    shop = Shop()
    shop.post(GOOD, ("idempotency-key", "k1"))
    path = f"/orders/{ID}/cancel"
    problem(shop.ask("POST", path, [("idempotency-key", "k1")]), 422, "idempotency-key-reused")
    first = shop.ask("POST", path, [("idempotency-key", "k2")])
    assert first.status == 200
    assert shop.ask("POST", path, [("idempotency-key", '"k2"')]).body == first.body
    problem(shop.post(GOOD, ("idempotency-key", "k2")), 422, "idempotency-key-reused")
    problem(shop.ask("POST", path, [("idempotency-key", "k1")]), 422, "idempotency-key-reused")
    problem(shop.ask("POST", path, [("idempotency-key", '"')]), 400, "idempotency-key-invalid")
    assert shop.world.told() == ["OrderCreated", "OrderCancelled"]


def test_a_cancel_under_a_key_whose_commit_is_lost_is_looked_up() -> None:
    world = World()
    store = Flaky(world.store)
    shop = Shop(world, store)
    shop.post()
    store.commits = [("after", Indeterminate("the connection was lost at commit"))]
    answer = shop.ask("POST", f"/orders/{ID}/cancel", [("idempotency-key", "k2")])
    assert answer.status == 200
    assert world.told() == ["OrderCreated", "OrderCancelled"]


def test_a_paid_order_is_cancelled_no_more() -> None:
    world = World()
    world.handle(world.payment, world.validated())
    problem(Shop(world).ask("POST", f"/orders/{ID}/cancel"), 409, "too-late")


# ---- the orders of a customer


def posted(shop: Shop, customer: str, number: int) -> str:
    """Post an order; its id."""
    body = json.dumps({"customer_id": customer, "currency": "EUR", "items": [MUG]}).encode()
    return str(json.loads(shop.post(body, ("lab-subject", f"{number}.1")).body)["order_id"])


def listed(shop: Shop, query: str) -> tuple[list[str], str | None]:
    """The ids on a page, and the query of the next one."""
    answer = shop.ask("GET", "/orders", query=query.encode())
    assert answer.status == 200
    page, link = json.loads(answer.body), dict(answer.headers).get("link")
    assert ("next" in page) == (link is not None)
    following = None if link is None else link.removeprefix("</orders?").partition(">")[0]
    assert following is None or quote(page["next"]) in following
    return [order["order_id"] for order in page["orders"]], following


def test_the_orders_of_a_customer_come_in_pages_the_newest_first() -> None:
    shop = Shop(ids=SeededIds(1))
    mine = [posted(shop, "C 1&/ü", number) for number in range(1, 8)]
    posted(shop, "C2", 9)
    query: str | None = f"customer_id={quote('C 1&/ü', safe='')}&limit=3"
    found: list[str] = []
    pages = 0
    while query is not None:
        ids, query = listed(shop, query)
        found, pages = found + ids, pages + 1
        if pages == 1:
            # One that comes meanwhile moves no page.
            posted(shop, "C 1&/ü", 10)
    assert pages == 3
    assert sorted(found) == sorted(mine)
    assert len(found) == len(mine)


def test_a_customer_without_orders_has_an_empty_page() -> None:
    assert listed(Shop(), "customer_id=nobody") == ([], None)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "customer_id=",
        "customer_id",
        "limit=5",
        "customer_id=C1&customer_id=C2",
        "customer_id=C1&limit=0",
        "customer_id=C1&limit=201",
        "customer_id=C1&limit=ten",
        "customer_id=C1&limit=%C2%B2",
        "customer_id=C1&after=x",
        "customer_id=C1&after=MTIz",
        "customer_id=C1&after=MS5h!!!",
        "customer_id=C1&after=" + "9" * 400,
        "customer_id=%ff",
        "customer_id=" + "x" * 9_000,
        "customer=C1",
        "customer_id=C1&sort=up",
        "customer_id=C1&&",
    ],
)
def test_a_query_that_is_none_is_refused_with_its_reason(query: str) -> None:
    answer = Shop().ask("GET", "/orders", query=query.encode())
    assert "/orders" in problem(answer, 400, "query-invalid")["detail"]


@given(st.binary(max_size=200))
def test_no_query_breaks_the_api(query: bytes) -> None:
    answer = Shop().ask("GET", "/orders", query=query)
    assert answer.status in (200, 400)


# ---- the rest of the surface


@pytest.mark.parametrize(
    "path", ["/", "/order", "/orders/", "/orders/a/b", "/orders/a/cancel/", ""]
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    problem(Shop().ask("GET", path, [("host", "[")]), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/orders", "GET, HEAD, POST"),
        ("DELETE", "/orders/x", "GET, HEAD"),
        ("GET", "/orders/x/cancel", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("post", "/orders", "GET, HEAD, POST"),
        ("", "/ready", "GET, HEAD"),
    ],
)
def test_another_method_is_not_allowed_and_told_which_is(
    method: str, path: str, allow: str
) -> None:
    answer = Shop().ask(method, path)
    problem(answer, 405, "method-not-allowed")
    assert dict(answer.headers)["allow"] == allow


def test_a_process_that_runs_is_healthy_and_ready_until_it_is_not() -> None:
    shop = Shop()
    assert shop.ask("GET", "/health").status == 200
    assert shop.ask("GET", "/ready").status == 200
    shop.is_welcoming = False
    assert shop.ask("GET", "/health").status == 200
    problem(shop.ask("GET", "/ready"), 503, "shed")


def test_work_that_is_not_admitted_is_shed_and_stores_nothing() -> None:
    shop = Shop()
    shop.post()
    shop.is_open = False
    for answer in (shop.post(), shop.ask("POST", f"/orders/{ID}/cancel")):
        problem(answer, 503, "shed")
        assert dict(answer.headers)["retry-after"] == "1"
    assert shop.ask("GET", f"/orders/{ID}").status == 200
    assert shop.world.told() == ["OrderCreated"]


# ---- the store


@pytest.mark.parametrize("key", [(), (("idempotency-key", "k1"),)])
def test_a_store_that_is_down_sheds_the_request(key: tuple[tuple[str, str], ...]) -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [Down("no connection", dependency="postgres", after_us=2_500_000)]
    answer = Shop(world, store).post(GOOD, *key)
    problem(answer, 503, SHED.removeprefix(PROBLEM))
    assert dict(answer.headers)["retry-after"] == "3"
    assert world.events == []


@pytest.mark.parametrize(
    "error",
    [
        Down("PostgreSQL at 10.1.2.3:5432/lab: no", dependency="postgres", after_us=0),
        Transient("PostgreSQL at 10.1.2.3:5432/lab: deadlock"),
        Indeterminate("PostgreSQL at 10.1.2.3:5432/lab: lost"),
    ],
)
def test_a_client_is_told_nothing_of_our_insides(error: Exception) -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [error] * 100
    told = Shop(world, store).post()
    assert told.status == 503
    assert b"PostgreSQL" not in told.body
    assert b"10.1.2.3" not in told.body


def test_a_store_that_keeps_refusing_sheds_the_request() -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [Transient("deadlock")] * 20
    problem(Shop(world, store).post(), 503, "shed")
    assert world.events == []


def test_a_commit_that_nobody_can_look_up_is_indeterminate() -> None:
    lost = Indeterminate("the connection was lost at commit")
    for commit in (lost, ("after", lost)):
        world = World()
        store = Flaky(world.store)
        store.commits = [commit]
        store.looks = [Transient("away")]
        answer = Shop(world, store).post(GOOD, ("idempotency-key", "k1"))
        problem(answer, 503, INDETERMINATE.removeprefix(PROBLEM))
        # Asking again settles it.
        assert Shop(world, store).post(GOOD, ("idempotency-key", "k1")).status == 201
        assert len(world.events) == 1


def test_a_bug_is_answered_with_a_problem_and_raised() -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [ZeroDivisionError("a bug")]
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": GOOD, "more_body": False}

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [(b"content-type", b"application/json")],
    }
    with pytest.raises(ZeroDivisionError):
        run(_awaited(Shop(world, store).app(scope, receive, send)))
    assert answers[0]["status"] == 500
    assert json.loads(answers[1]["body"])["type"] == PROBLEM + "internal"


def test_an_app_without_an_answer_is_an_error_of_the_app() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send

    with pytest.raises(RuntimeError, match="did not answer"):
        run(call(silent, "GET", "/"))


# ---- anything at all

latin = st.text(st.characters(max_codepoint=255), max_size=20)
names = st.sampled_from(
    ["content-type", "content-length", "idempotency-key", "lab-subject", "host", "x"]
)
values = st.one_of(
    latin, st.sampled_from(["application/json", "5", "1.1", "application/json; charset"])
)
paths = st.one_of(
    st.sampled_from(["/orders", f"/orders/{ID}", f"/orders/{ID}/cancel", "/health", "/ready"]),
    st.text(st.characters(exclude_categories=()), max_size=30).map("/".__add__),
)
methods = st.one_of(st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]), latin)
chunks = st.lists(st.one_of(st.binary(max_size=60), st.just(GOOD)), max_size=4)


@given(methods, paths, st.lists(st.tuples(names, values), max_size=5), chunks)
def test_no_request_breaks_the_api(
    method: str, path: str, headers: list[tuple[str, str]], body: list[bytes]
) -> None:
    shop = Shop()
    shop.world.create()
    answer = run(call(shop.app, method, path, headers, body))
    assert 200 <= answer.status < 500
    kind = dict(answer.headers)["content-type"]
    assert kind == ("application/json" if answer.status < 300 else "application/problem+json")
    if method != "HEAD":
        json.loads(answer.body)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300),
)
def test_no_json_breaks_the_api(body: object, key: str) -> None:
    shop = Shop()
    for wrapped in (body, {"items": [body, MUG]}, {"customer_id": body, "items": body}):
        answer = shop.post(json.dumps(wrapped).encode(), ("idempotency-key", key))
        assert answer.status in (400, 422)
        json.loads(answer.body)
    assert shop.world.events == []
