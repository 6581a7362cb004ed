"""The client's way to the API."""

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

        None tells nothing about whether the request was executed.
        """
        ...
