"""Wrappers of a port that do one thing around every awaited call, whichever port it is.

There are two ways to wrap a port, and this is the second. `around_every_call` asks `wrap` once for
each awaited method of the port's Protocol and hands the other methods through. It is for things
that are the same around any call: a crash point, a failed statement, a breaker. A wrapper that
changes a call by the meaning of its arguments takes the first way: `lab.ports.pass_through`.

Not here: the things that are done around a call.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from inspect import iscoroutinefunction, isfunction
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar, cast

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)

Method = Callable[..., Awaitable[object]]

Wrap = Callable[[str, Method], Method]
"""`wrap(name, method)`: what is called instead of an awaited method; `method` to leave it alone."""


class PortType(Protocol[P_co]):
    """The Protocol of a port, given as an argument: `type[P]` would take no Protocol."""

    def __call__(self, *args: Any, **kwargs: Any) -> P_co:
        """Never called."""
        ...

    def __hash__(self) -> int:
        """Classes have one."""
        ...


def around_every_call(port: PortType[P], inner: P, wrap: Wrap) -> P:
    """A port that calls `inner` through `wrap`.

    It has the methods of `port` and no others, each looked up once: a call costs no frame more
    than `wrap` puts around it.

    Raises:
        AttributeError: `inner` lacks a method of the port.
    """
    calls = {name: getattr(inner, name) for name in _methods(port)}
    calls |= {name: wrap(name, calls[name]) for name in awaited_methods(port)}
    # The names come from the port, so no method of it is missing; a type checker cannot see that.
    return cast("P", SimpleNamespace(**calls))


@cache
def awaited_methods(port: PortType[object]) -> tuple[str, ...]:
    """The methods of a port that suspend, by name in order."""
    return tuple(name for name in _methods(port) if iscoroutinefunction(getattr(port, name)))


@cache
def _methods(port: PortType[object]) -> tuple[str, ...]:
    names = tuple(name for name in dir(port) if not name.startswith("_"))
    assert all(isfunction(getattr(port, name)) for name in names), f"{port}: not only methods"
    return names
