"""`/metrics` in front of an app: what is measured of a request, and how a server is asked."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lab.api import Door, make_app
from lab.domain.errors import Transient
from lab.domain.request import BODY_BYTES_MAX
from lab.observe.metrics import ProcessMetrics
from lab.observe.sampled import KEPT_S, Sampled
from lab.observe.scrape import timed, with_metrics
from lab.ports.http import HttpAnswer
from lab.runtime.asgi_call import AsgiApp, Message, call
from lab.runtime.virtual_loop import Scheduler, sleep_us
from tests.kit.order_world import ID, World
from tests.kit.scraped import value
from tests.kit.virtual_steps import run

SECOND = 1_000_000
JSON = ("content-type", "application/json")
MUG = {"sku": "mug", "quantity": 2, "unit_price_cents": 450}
GOOD = json.dumps({"customer_id": "C1", "currency": "EUR", "items": [MUG]}).encode()
COUNT = "lab_http_request_duration_seconds_count"


class Shop(Door):
    """The API, measured."""

    def __init__(self) -> None:
        self.metrics = ProcessMetrics(service="lab-api", version="1")
        self.is_open = True
        app = make_app(World().desk, self)
        self.app: AsgiApp = with_metrics(timed(app, self.metrics), self.metrics)

    def admits(self) -> bool:
        return self.is_open

    async def is_ready(self) -> bool:
        return self.is_open

    def ask(self, method: str, path: str, *headers: tuple[str, str], body: bytes = b"") -> Any:
        answer = run(call(self.app, method, path, headers, body))
        assert isinstance(answer, HttpAnswer)
        return answer

    def count(self, route: str, status: str) -> float | None:
        return value(self.metrics, COUNT, route=route, status=status)


def test_a_request_is_counted_under_its_route_and_status() -> None:
    shop = Shop()
    shop.ask("POST", "/orders", JSON, body=GOOD)
    shop.ask("GET", f"/orders/{ID}")
    shop.ask("GET", "/orders/another")
    shop.ask("GET", "/orders/a-third")

    assert shop.count("/orders", "201") == 1
    assert shop.count("/orders/{id}", "200") == 1
    assert shop.count("/orders/{id}", "404") == 2
    assert value(shop.metrics, "lab_http_requests_in_flight") == 0


def test_paths_that_no_route_takes_are_one_route() -> None:
    shop = Shop()
    for path in ("/a", "/b", "/orders/1/2/3"):
        assert shop.ask("GET", path).status == 404

    assert shop.count("other", "404") == 3


def test_a_method_that_is_not_for_a_route_is_counted_there() -> None:
    shop = Shop()
    shop.ask("DELETE", "/orders")

    assert shop.count("/orders", "405") == 1


def test_a_problem_is_counted_by_its_type() -> None:
    shop = Shop()
    shop.ask("POST", "/orders", JSON, body=b"{}")
    shop.ask("POST", "/orders", JSON, body=b"{" * (BODY_BYTES_MAX + 1))

    name = "lab_http_problems_total"
    assert value(shop.metrics, name, route="/orders", problem="order-refused") == 1
    assert value(shop.metrics, name, route="/orders", problem="body-too-large") == 1


def test_a_refused_order_is_shed_and_a_refused_question_is_not() -> None:
    shop = Shop()
    shop.is_open = False
    assert shop.ask("POST", "/orders", JSON, body=GOOD).status == 503
    assert shop.ask("GET", "/ready").status == 503

    assert value(shop.metrics, "lab_shed_requests_total", route="/orders") == 1
    assert value(shop.metrics, "lab_shed_requests_total", route="/ready") is None


async def _until_answered(shop: Shop, scope: Message, receive: Callable[[], Awaitable[Any]]) -> Any:
    async def send(_: Message) -> None:
        raise AssertionError("nobody is there to be answered")

    await shop.app(scope, receive, send)


def test_a_client_that_hung_up_has_no_status() -> None:
    shop = Shop()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Message = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [(b"content-type", b"application/json")],
    }
    run(_until_answered(shop, scope, receive))

    assert shop.count("/orders", "none") == 1


def test_a_request_that_fails_is_in_hand_no_more() -> None:
    metrics = ProcessMetrics(service="lab-api", version="1")
    seen: list[float | None] = []

    async def failing(scope: Message, receive: Any, send: Any) -> None:
        del scope, receive, send
        seen.append(value(metrics, "lab_http_requests_in_flight"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(call(timed(failing, metrics), "GET", "/"))

    assert seen == [1]
    assert value(metrics, "lab_http_requests_in_flight") == 0
    assert value(metrics, COUNT, route="other", status="none") == 1


def test_the_metrics_stand_beside_the_app_and_are_no_request_of_its() -> None:
    shop = Shop()
    answer = shop.ask("GET", "/metrics")

    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert b'lab_build_info{service="lab-api",version="1"} 1.0' in answer.body
    assert shop.count("/metrics", "200") is None
    assert shop.ask("GET", "/health").status == 200


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    accept = ("accept", "application/openmetrics-text; version=1.0.0")
    answer = Shop().ask("GET", "/metrics", accept)

    assert dict(answer.headers)["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


# ---- what a server is asked for


class Broker:
    """Answers after a while."""

    def __init__(self) -> None:
        self.takes_us = 0
        self.asked = 0
        self.is_away = False

    async def lag(self) -> int:
        self.asked += 1
        asked = self.asked
        await sleep_us(self.takes_us)
        if self.is_away:
            raise Transient("away")
        return asked


def in_time(main: Callable[[Scheduler, Broker, Sampled[int]], Awaitable[None]]) -> None:
    with Scheduler() as scheduler:
        broker = Broker()

        async def inside() -> None:
            await main(scheduler, broker, Sampled(broker.lag))

        scheduler.run(inside())


def test_a_server_is_asked_once_a_second_at_most() -> None:
    async def main(_: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        await lag.refresh()
        await lag.refresh()
        assert (broker.asked, lag.value) == (1, 1)

        await sleep_us(1_100_000)
        await lag.refresh()
        assert (broker.asked, lag.value) == (2, 2)

    in_time(main)


def test_a_scrape_waits_a_second_and_the_next_one_gets_the_late_answer() -> None:
    async def main(scheduler: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        broker.takes_us = 3 * SECOND
        await lag.refresh()
        assert (scheduler.now_us, lag.value) == (SECOND, None)

        await sleep_us(2_500_000)
        await lag.refresh()
        assert (broker.asked, lag.value) == (1, 1)

    in_time(main)


def test_scrapers_at_one_time_share_one_question() -> None:
    async def main(scheduler: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        broker.takes_us = SECOND // 2
        tasks = [scheduler.root.create_task(lag.refresh()) for _ in range(3)]
        for task in tasks:
            await task
        assert (broker.asked, lag.value) == (1, 1)

    in_time(main)


def test_a_server_that_does_not_answer_leaves_no_value() -> None:
    async def main(_: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        await lag.refresh()
        broker.is_away = True
        await sleep_us(2 * SECOND)
        await lag.refresh()
        while_away = lag.value
        broker.is_away = False
        await lag.refresh()
        assert (while_away, lag.value) == (None, 3)

    in_time(main)


def test_an_old_value_is_none() -> None:
    async def main(_: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        await lag.refresh()
        broker.takes_us = 3_600 * SECOND
        await sleep_us(int(KEPT_S * SECOND) - 2 * SECOND)
        await lag.refresh()
        young = lag.value
        await sleep_us(2 * SECOND)
        assert (young, lag.value) == (1, None)
        await lag.close()

    in_time(main)


def test_closing_ends_the_question() -> None:
    async def main(scheduler: Scheduler, broker: Broker, lag: Sampled[int]) -> None:
        broker.takes_us = 3_600 * SECOND
        await lag.refresh()
        await lag.close()
        assert scheduler.now_us == SECOND

    in_time(main)
