"""The document of the API, and the running API driven from it: what it says is what happens."""

import ast
import asyncio
import inspect
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

import lab.api
import lab.api_pages
import lab.api_problems
import lab.api_requests
from lab.api import Door, make_app
from lab.cli.reference import FOLDER
from lab.domain.answers import MALFORMED_HTTP, PROBLEM, PROBLEMS, SLOW, TOO_LONG_HEAD
from lab.domain.order import OrderId
from lab.domain.request import parse_order
from lab.openapi import OPERATIONS, openapi_document
from lab.ports.ids import Ids
from lab.runtime.asgi_call import call
from lab.runtime.http_server import http_server
from lab.runtime.ids import TimeOrderedIds
from tests.kit.order_world import World, make_desk
from tests.kit.virtual_steps import run

DOCUMENT: dict[str, Any] = json.loads(openapi_document())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
# A body with more items than are allowed may be larger than a body may be.
SCHEMA.config.checks.negative_data_rejection.expected_statuses.append("413")
FRACTION = "not a number with a fraction or exponent"
CLIENT = schemathesis.openapi.from_dict(DOCUMENT)
"""The same, for a client that asks for nothing that is forbidden."""
CLIENT.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])
EXAMPLES = 30
CHOSEN = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


SERVER = {MALFORMED_HTTP, SLOW, TOO_LONG_HEAD}
"""Problems that a server answers with by itself."""


def make_orders_app(ids: Ids | None = None) -> Any:
    """The app over stores in memory, with ids as in the standing system."""
    desk = make_desk(World(), ids=ids or TimeOrderedIds())
    return make_app(desk, Door(), subject_header="lab-subject")


class CountedIds(TimeOrderedIds):
    """Ids that are the same in each shop."""

    def __init__(self) -> None:
        self._count = 0

    def order_id(self, lab_subject: str) -> OrderId:  # noqa: ARG002 - nobody numbers the orders
        self._count += 1
        return OrderId(f"{self._count:08}-0000-7000-8000-000000000000")


class NewShops:
    """An app that can be made anew: what was ordered before is forgotten."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._app = make_orders_app(CountedIds())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


@contextmanager
def served(app: Any = None) -> Iterator[str]:
    """The API on loopback, in a thread of its own; its address."""
    url: list[str] = []
    is_up = threading.Event()
    over: list[Any] = []

    async def serve() -> None:
        stop = asyncio.Event()
        over.extend((asyncio.get_running_loop(), stop))
        async with http_server(app or make_orders_app()) as server:
            url.append(server.url)
            is_up.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert is_up.wait(10)
        yield url[0]
    finally:
        loop, stop = over
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with served() as url:
        yield url


def routes() -> set[tuple[str, str]]:
    """Method and path of every route of the running app."""
    router = make_orders_app()._router
    return {
        (method.lower(), route.path)
        for route in router.routes
        for method in route.methods - {"HEAD"}
    }


def test_the_document_names_every_route_and_no_other() -> None:
    named = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert named == routes()


def test_every_problem_is_an_answer_of_some_route() -> None:
    answered = {problem for one in OPERATIONS for problem in one.problems}

    # The router answers one for any other method, the server three to any request.
    assert answered | {"method-not-allowed"} | SERVER == set(PROBLEMS)


def test_every_problem_of_the_table_is_given_by_the_code_and_no_other() -> None:
    sources = (lab.api, lab.api_pages, lab.api_problems, lab.api_requests)
    tree = ast.parse("".join(inspect.getsource(one) for one in sources))
    names = {"SHED": "shed", "INDETERMINATE": "indeterminate"}
    given = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("HttpProblem"), args=[ast.Constant(name), *_]):
                given.add(name)
            case ast.Call(func=ast.Name("HttpProblem"), args=[ast.Name(name), *_]):
                given.add(names[name])
            case _:
                pass

    assert given | SERVER == set(PROBLEMS)


def test_the_document_is_served_as_it_is_committed() -> None:
    answer = run(call(make_orders_app(), "GET", "/openapi.json"))

    assert (answer.status, dict(answer.headers)["content-type"]) == (200, "application/json")
    assert answer.body == (FOLDER / "openapi.json").read_bytes()


def test_the_limits_are_those_that_refuse() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    text, items = (
        schemas["Item"]["properties"]["sku"],
        schemas["OrderRequest"]["properties"]["items"],
    )
    line = {"sku": "x" * text["maxLength"], "quantity": 1, "unit_price_cents": 1}
    order = {"customer_id": "C1", "currency": "EUR", "items": [line] * items["maxItems"]}

    def refused(**changes: Any) -> bool:
        return isinstance(parse_order(json.dumps(order | changes).encode()), list)

    assert not refused()
    assert refused(items=[line] * (items["maxItems"] + 1))
    assert refused(items=[line | {"sku": line["sku"] + "x"}])


def is_beyond_a_schema(answer: Any) -> bool:
    """Whether it refuses only what no schema can.

    A sum, a used key, 2.0 for the integer 2, the `next` of a page that never was.
    """
    if answer.status_code == 400:
        return "of an earlier page" in answer.json()["detail"]
    if answer.status_code != 422:
        return False
    problem = answer.json()
    return problem["type"] == PROBLEM + "idempotency-key-reused" or all(
        refusal["reason"] == "amount_too_large" or refusal["message"].endswith(FRACTION)
        for refusal in problem["errors"]
    )


def unsaid_of(answer: Any) -> list[Any]:
    """The checks that do not hold for this answer."""
    return [CHECKS.get_one("positive_data_acceptance")] if is_beyond_a_schema(answer) else []


@pytest.mark.slow
@SCHEMA.parametrize()
@CHOSEN
def test_what_the_document_allows_and_forbids_is_what_the_api_does(
    case: schemathesis.Case[Any], api: str
) -> None:
    answer = case.call(base_url=api)
    case.validate_response(answer, excluded_checks=unsaid_of(answer))


@pytest.mark.slow
def test_an_order_is_looked_at_and_cancelled_by_the_links_of_its_answer() -> None:
    met: Counter[tuple[str, int]] = Counter()
    shops = NewShops()

    class Client(CLIENT.as_state_machine()):  # type: ignore[misc]  # made from the document
        def setup(self) -> None:
            # What is drawn depends on the answers: they may not depend on the example before.
            shops.begin()

        def get_call_kwargs(self, case: schemathesis.Case[Any]) -> dict[str, Any]:  # noqa: ARG002 - the shape that the library calls
            return {"base_url": api}

        def validate_response(self, response: Any, case: schemathesis.Case[Any], **_: Any) -> None:
            met[case.operation.label, response.status_code] += 1
            case.validate_response(response, excluded_checks=unsaid_of(response))

    with served(shops) as api:
        Client.run(settings=settings(CHOSEN, max_examples=60, stateful_step_count=10))

    assert met["GET /orders/{id}", 200]
    assert met["POST /orders/{id}/cancel", 200]
