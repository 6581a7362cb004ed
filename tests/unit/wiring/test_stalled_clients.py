"""The API while a hundred clients stall in the middle of a body: over sockets, and without."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from lab.api import make_app
from lab.patterns.load_shedding import LoadShedding
from lab.runtime.asgi_call import Message, call
from lab.runtime.http_caller import http_caller
from lab.runtime.http_server import http_server
from lab.wiring.process.roles import Api
from tests.kit.chain_parts import Entries, make_pen
from tests.kit.order_world import World

MANY = 100
JSON = ("content-type", "application/json")
MUG = {"sku": "mug", "quantity": 2, "unit_price_cents": 450}
GOOD = json.dumps({"customer_id": "C1", "currency": "EUR", "items": [MUG]}).encode()
STALLED = (
    b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Content-Length: 90\r\n\r\n{"
)


def make_served_api() -> Api:
    pen = make_pen(int, Entries())
    api = Api(door=LoadShedding(in_flight_max=MANY, pen=pen), pen=pen)
    api.app = make_app(World().desk, api)
    return api


def test_over_sockets_they_cost_nobody_an_order_nor_the_process_its_readiness() -> None:
    async def main() -> None:
        api = make_served_api()
        entered = asyncio.Semaphore(0)

        async def app(scope: Message, receive: Any, send: Any) -> None:
            entered.release()
            await api.app(scope, receive, send)

        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(http_server(app))
            for _ in range(MANY):
                _, writer = await asyncio.open_connection(server.host, server.port)
                stack.callback(writer.close)
                writer.write(STALLED)
            for _ in range(MANY):
                await entered.acquire()
            caller = await stack.enter_async_context(http_caller(server.url))
            for _ in range(2):
                told = await caller.send(
                    "POST", "/orders", headers=(JSON,), body=GOOD, timeout_us=10_000_000
                )
                assert told.status in (201, 409), "an order, or one of the same made-up id"
            told = await caller.send("GET", "/ready", headers=(), body=b"", timeout_us=10_000_000)
            assert told.status == 200

    asyncio.run(main())


def test_without_sockets_as_in_the_simulator_they_have_no_place_in_hand() -> None:
    api = make_served_api()

    async def never() -> Message:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a body came")

    async def nobody(_message: Message) -> None:
        raise AssertionError("it was answered")

    async def stall(scope: Message) -> None:
        await api.app(scope, never, nobody)

    async def main() -> tuple[int, int]:
        scope: Message = {
            "type": "http",
            "method": "POST",
            "path": "/orders",
            "raw_path": b"/orders",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        loop = asyncio.get_running_loop()
        stalled = [loop.create_task(stall(scope)) for _ in range(MANY)]
        await asyncio.sleep(0)
        post = await call(api.app, "POST", "/orders", (JSON,), GOOD)
        ready = await call(api.app, "GET", "/ready")
        for one in stalled:
            one.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        return post.status, ready.status

    assert asyncio.run(main()) == (201, 200)
