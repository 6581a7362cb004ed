"""A request to the API as faults see it: the order that it is about.

Not here: the faults that strike it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from lab.domain.envelope import H_SUBJECT

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""

_SUBJECT: Final = H_SUBJECT.encode()


def subject_of_request(scope: Scope) -> str:
    """The order of a request as `ordinal.send`; "" if it does not say."""
    value: bytes = dict(scope.get("headers", ())).get(_SUBJECT, b"")
    return value.decode(errors="replace")
