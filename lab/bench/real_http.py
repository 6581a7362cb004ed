"""Orders a second over HTTP: the lab's app without a store, and a bare ASGI app, on one server.

`python -m lab.bench.real_http lab` (or `raw`) is a process that serves one of them: it prints its
port, and ends when its standard input does. Not here: the client (`baselines.raw_asgi`).
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from lab.api import Door, make_app
from lab.bench.baselines.raw_asgi import raw_app, requests_a_second
from lab.bench.load import BenchError
from lab.domain.order import Order
from lab.history.pen import Pen
from lab.patterns.http_idempotency import StoredKeys
from lab.ports.store import HttpKeyRow, Loaded, OrderStore, Outcome, Unit, UnitVerdict
from lab.runtime.clock import SystemClock
from lab.runtime.http_server import LOOPBACK, AsgiApp, http_server
from lab.runtime.ids import TimeOrderedIds
from lab.runtime.real_loop import run_on
from lab.services.orders import OrdersUseCases
from lab.settings import environment, settings_for

_DAY_US: Final = 86_400_000_000
_WARM_UP: Final = 200
_END_S: Final = 10


class NullStore(OrderStore):
    """An order store that takes everything and keeps nothing."""

    async def commit(self, unit: Unit) -> UnitVerdict:  # noqa: ARG002 - the port's shape
        return UnitVerdict.COMMITTED

    async def load(self, order_id: str) -> Loaded | None:  # noqa: ARG002 - as above
        return None

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:  # noqa: ARG002 - the port's shape
        return None

    async def http_key(self, key: str) -> HttpKeyRow | None:  # noqa: ARG002 - as above
        return None

    async def due(self, limit: int) -> Sequence[Order]:  # noqa: ARG002 - as above
        return ()

    async def of_customer(
        self,
        customer_id: str,  # noqa: ARG002 - as above
        *,
        before: tuple[int, str] | None,  # noqa: ARG002 - as above
        limit: int,  # noqa: ARG002 - as above
    ) -> Sequence[Order]:
        return ()

    async def wait_due(self) -> None:
        await asyncio.get_running_loop().create_future()


def loop_to_measure() -> str:
    """The event loop of a real process: uvloop, or what `LAB_SET_PROCESS_LOOP` says."""
    given = environment().get("SET_PROCESS_LOOP")
    changes = {} if given is None else {"process.loop": given}
    return settings_for("wall-clock").with_changes(changes).text("process.loop")


def posts_a_second(count: int) -> tuple[float, float]:
    """Orders a second that the lab's app takes, and requests a second that a bare one answers.

    Raises:
        BenchError: a server did not start.
        ConnectionError: an order was refused.
        TimeoutError: it took more than a minute.
    """
    ours, raw = (_posts(app, count) for app in ("lab", "raw"))
    return ours, raw


def _posts(app: str, count: int) -> float:
    with _served(app) as port:
        asyncio.run(requests_a_second(LOOPBACK, port, min(count, _WARM_UP)))
        return asyncio.run(requests_a_second(LOOPBACK, port, count))


@contextmanager
def _served(app: str) -> Iterator[int]:
    """A process that serves an app; gives its port."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", __name__, app],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C is for the bench; this process ends with it.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchError(f"the server of the {app} app did not start")
        yield int(line)
    finally:
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _lab_app() -> AsgiApp:
    store, clock = NullStore(), SystemClock()
    orders = OrdersUseCases(
        store=store,
        ids=TimeOrderedIds(),
        clock=clock,
        http=StoredKeys(store=store, pen=Pen(process="api-1", now=clock.now_us)),
        expiry_us=_DAY_US,
    )
    return make_app(orders, Door(), subject_header="lab-subject")


async def _serve(app: AsgiApp) -> None:
    async with http_server(app) as server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    run_on(loop_to_measure(), _serve(_lab_app() if sys.argv[1] == "lab" else raw_app))
