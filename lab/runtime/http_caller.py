"""The one home of httpx: requests to one address, over a pool of connections, each with a deadline.

An exception of httpx says one thing of use: whether anything of the request can have left this
process. Not here: the meaning of a status (the port's adapters), and any retry.

Source: docs of httpx, Exceptions, Timeouts, Pool limits.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

import httpx

from lab.domain.errors import EnvironmentNotReady
from lab.ports.http import HttpAnswer, HttpCaller, HttpSender, NoAnswer, NotSent, PoolExhausted

NO_TIMEOUT_US: Final = 365 * 86_400_000_000
"""A call with a year left has no deadline: without an answer it hangs."""

CONNECTIONS_MAX: Final = 64
POOL_CONNECTIONS: Final = 4
"""Of one pool of httpx. It looks at each connection once for each other one, at every request: with
16 in a pool, three quarters of the time goes there."""
GIVEN_UP_MAX: Final = 16
"""A client of httpx in which so many calls were given up is replaced. A call that is cancelled
while the client tidies up behind it leaves a connection, neither used nor closed until that is."""
IDLE_S: Final = 20
"""An idle connection is closed after this: long before a server of ours would close it."""

CONNECT_S: Final = 10
"""A request without a deadline may wait so long for a connection."""

NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors of httpx before it writes the first byte."""

_PORT_MAX: Final = 65_535
_SECOND_US: Final = 1_000_000


class HttpxCaller(HttpCaller, HttpSender):
    """Sends requests to one address. Made by `http_caller`."""

    def __init__(self, pools: "Sequence[_Pool]") -> None:
        self._pools = pools
        self._waiting: dict[asyncio.Future[_Pool], None] = {}

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        try:
            if timeout_us >= NO_TIMEOUT_US:
                response = await self._exchange(method, path, headers, body, None)
            else:
                left_s = timeout_us / _SECOND_US
                async with asyncio.timeout(left_s):  # noqa: TID251 - a real adapter, not simulated
                    response = await self._exchange(method, path, headers, body, left_s)
        except TimeoutError:
            raise NoAnswer(f"{method} {path}: no answer in {timeout_us // 1000} ms") from None
        except (httpx.RequestError, OSError) as failure:
            raise meaning(failure) from failure
        answered = response.headers
        return HttpAnswer(
            response.status_code,
            tuple((name.lower(), value) for name, value in answered.multi_items()),
            response.content,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer | None:
        try:
            return await self.send(method, path, headers=headers, body=body, timeout_us=timeout_us)
        except (NotSent, NoAnswer):
            return None

    async def _exchange(
        self,
        method: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        left_s: float | None,
    ) -> httpx.Response:
        # A third each, so that "not connected" is always known before the time is up as a whole.
        third = CONNECT_S if left_s is None else left_s / 3
        pool = await self._take(third)
        client = pool.begin()
        sending = _Sending()
        task = asyncio.get_running_loop().create_task(
            client.http.request(
                method,
                path,
                headers=[
                    (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
                ],
                content=body,
                timeout=httpx.Timeout(None, connect=third),
                extensions={"trace": sending.trace},
            )
        )
        task.add_done_callback(lambda ended: self._give_back(pool, client, ended))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if sending.is_connected:
                task.cancel()
            sending.is_given_up = True
            pool.given_up(client)
            raise

    async def _take(self, wait_s: float) -> "_Pool":
        """The first pool with a free connection, which keeps the same ones in use.

        Raises:
            PoolExhausted: none became free in time.
        """
        for pool in self._pools:
            if pool.in_use < pool.connections:
                pool.in_use += 1
                return pool
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[_Pool] = loop.create_future()
        self._waiting[waiter] = None
        timer = loop.call_later(wait_s, _too_late, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free(waiter.result())
            raise
        finally:
            timer.cancel()
            self._waiting.pop(waiter, None)

    def _give_back(
        self, pool: "_Pool", client: "_Client", ended: "asyncio.Task[httpx.Response]"
    ) -> None:
        """A request has ended, with or without a caller."""
        if not ended.cancelled():
            ended.exception()
        pool.end(client)
        self._free(pool)

    def _free(self, pool: "_Pool") -> None:
        """A connection is free: the oldest waiter has it next."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(pool)
                return
        pool.in_use -= 1


def _too_late(waiter: "asyncio.Future[_Pool]") -> None:
    if not waiter.done():
        waiter.set_exception(PoolExhausted("every connection of the pool is in use"))


class _GivenUp(Exception):
    """Nobody waits for the answer any more."""


class _Sending:
    """How far a request has come, and whether anybody still waits for its answer.

    A connection whose request is cancelled before it is made stays in the pool for ever, neither
    usable nor closed: the pool is exhausted after a few. So a request is let connect, in bounded
    time, also without its caller, and is given up then.
    """

    __slots__ = ("is_connected", "is_given_up")

    def __init__(self) -> None:
        self.is_connected = False
        self.is_given_up = False

    async def trace(self, event: str, _info: object) -> None:
        """Told by the client of each step."""
        if event == "http11.send_request_headers.started":
            self.is_connected = True
            if self.is_given_up:
                raise _GivenUp


class _Client:
    """A client of httpx, the calls that it has in hand, and those that were given up in it."""

    __slots__ = ("given_up", "http", "in_hand", "is_retired")

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.in_hand = self.given_up = 0
        self.is_retired = False


class _Pool:
    """A few connections, so many of which are in use, and the client of httpx that has them.

    Nobody is left to wait inside of the client: one who gives up in the very step in which a new
    connection is meant for him leaves it behind, neither used nor closed, and after a few of those
    everybody would wait in vain.

    Args:
        make: makes a client; it is made anew now and then.
        connections: used at once.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], connections: int) -> None:
        self.connections = connections
        self.in_use = 0
        self._make = make
        self._client = _Client(make())
        self._retired: dict[_Client, None] = {}
        self._closing: dict[asyncio.Task[None], None] = {}

    def begin(self) -> _Client:
        """The client for one call."""
        self._client.in_hand += 1
        return self._client

    def given_up(self, client: _Client) -> None:
        """Nobody waits for that call of the client any more; it has not ended yet."""
        client.given_up += 1
        if client.given_up == GIVEN_UP_MAX:
            client.is_retired = True
            self._retired[client] = None
            self._client = _Client(self._make())

    def end(self, client: _Client) -> None:
        """A call of the client has ended."""
        client.in_hand -= 1
        if client.is_retired and not client.in_hand:
            self._retired.pop(client, None)
            closing = asyncio.get_running_loop().create_task(client.http.aclose())
            self._closing[closing] = None
            closing.add_done_callback(self._closing.pop)

    async def close(self) -> None:
        """Close every connection, also of calls that have not ended."""
        for client in (self._client, *self._retired):
            await client.http.aclose()
        if self._closing:
            await asyncio.wait(self._closing)


def meaning(failure: httpx.RequestError | OSError) -> NotSent | NoAnswer:
    """The meaning of a failure for the request; an unknown one says the least.

    LocalProtocolError belongs to those: it comes before a request that we built wrongly is sent,
    but also for a connection in a wrong state.
    """
    name = type(failure).__name__
    if isinstance(failure, httpx.PoolTimeout):
        return PoolExhausted("every connection of the pool is in use")
    if isinstance(failure, NOT_SENT):
        return NotSent(f"no connection ({name})")
    return NoAnswer(f"the connection was lost ({name})")


@contextlib.asynccontextmanager
async def http_caller(
    base_url: str, *, connections_max: int = CONNECTIONS_MAX
) -> AsyncIterator[HttpxCaller]:
    """A caller for the length of the block; leaving it closes its connections.

    Args:
        base_url: `http://host:port`; proxies and credentials of the environment are left out.
        connections_max: open at once; a caller that finds none free waits for a third of its time.

    Raises:
        EnvironmentNotReady: the address is none.
    """
    _check_address(base_url)
    is_secure = base_url.startswith("https:")
    # Loading the certificates takes longer than the first hundred requests.
    context = ssl.create_default_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    make = partial(_client, base_url, context)
    pools = [
        _Pool(make, min(left, POOL_CONNECTIONS))
        for left in range(connections_max, 0, -POOL_CONNECTIONS)
    ]
    try:
        yield HttpxCaller(pools)
    finally:
        for pool in pools:
            await pool.close()


def _check_address(base_url: str) -> None:
    """Refuse an address at the start: at a call it would be a failure of each event."""
    try:
        url = httpx.URL(base_url)
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL("")
    if url.scheme in ("http", "https") and url.host and (url.port or 0) <= _PORT_MAX:
        return
    raise EnvironmentNotReady(
        "its address cannot be read",
        server="HTTP",
        # It may hold a password.
        address="?",
        remedy="expected http://HOST:PORT; that of the third parties is LAB_PROVIDERS_URL",
    )


def _client(base_url: str, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url,
        trust_env=False,
        verify=context,
        # Compression takes longer than it saves.
        headers={"accept-encoding": "identity"},
        # As many as our own pool lets be in use at once. Told a number, httpcore closes an idle one
        # as soon as there are more of any kind, those that were left behind among them.
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S
        ),
    )
