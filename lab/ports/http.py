"""Ways to send a request over HTTP: the client's to the API, and an adapter's to a third party."""

from typing import Protocol

import msgspec


class HttpAnswer(msgspec.Struct, frozen=True, gc=False):
    """One answer; header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class HttpCaller(Protocol):
    """Sends requests to the orders API."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer | None:
        """The answer, or None: no answer in time, or the connection was refused or reset.

        `path` may have a query.

        None tells nothing about whether the request was executed.
        """
        ...


class NotSent(Exception):
    """No connection was made, so nothing of the request was handed over."""


class PoolExhausted(NotSent):
    """All connections of our own pool were in use for too long."""


class NoAnswer(Exception):
    """The request, or some of it, was handed over, and no whole answer came in time."""


class HttpSender(Protocol):
    """Sends requests to one address and tells two kinds of missing answers apart."""

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        """The answer, of any status; sent at most once, redirects are not followed.

        Cancelling the call closes its connection, which tells the other side nothing of use.

        Raises:
            NotSent: connecting was refused, or took so long that nothing could be done after it.
            NoAnswer: the connection was lost, or there was no whole answer after `timeout_us`.
        """
        ...
