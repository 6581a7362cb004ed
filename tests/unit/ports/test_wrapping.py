"""The two ways to wrap a port: each keeps the port whole, and the package knows no third one."""

import ast
import inspect
import re
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.ports.bus import Consumer, Publisher
from lab.ports.clock import Clock
from lab.ports.dedupe import DedupeStore
from lab.ports.every_call import around_every_call, awaited_methods
from lab.ports.pass_through import PassThroughClock, PassThroughConsumer, PassThroughStore
from lab.ports.store import OrderStore

LAB = Path(__file__).resolve().parents[3] / "lab"
BASES = [(Clock, PassThroughClock), (Consumer, PassThroughConsumer), (OrderStore, PassThroughStore)]


def methods_of(port: Any) -> list[str]:
    return [name for name in dir(port) if not name.startswith("_")]


class Inner:
    """A port, whichever it is: notes its calls and answers each with an object of its own."""

    def __init__(self, port: Any) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.answers = {name: object() for name in methods_of(port)}
        for name in methods_of(port):
            setattr(self, name, self.method(name))

    def method(self, name: str) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            self.calls.append((name, given, named))
            return self.answers[name]

        return call


def arguments(method: Callable[..., object]) -> tuple[tuple[object, ...], dict[str, object]]:
    """One object for each argument that a method takes, `self` left out."""
    _self, *takes = inspect.signature(method).parameters.values()
    named = {each.name: object() for each in takes if each.kind is each.KEYWORD_ONLY}
    return tuple(object() for each in takes if each.name not in named), named


@pytest.mark.parametrize(("port", "base"), BASES)
def test_a_base_hands_every_call_on_as_it_came(port: Any, base: Any) -> None:
    inner = Inner(port)
    wrapper = base(inner)
    for name in methods_of(port):
        method = getattr(port, name)
        given, named = arguments(method)
        tells = name in awaited_methods(port) or inspect.signature(method).return_annotation

        answer = getattr(wrapper, name)(*given, **named)

        assert answer is (inner.answers[name] if tells else None)
        assert inner.calls.pop() == (name, given, named)


def test_what_goes_around_every_call_goes_around_the_awaited_methods_and_no_others() -> None:
    inner: Any = Inner(Consumer)
    asked = []

    def wrap(name: str, call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        assert call is getattr(inner, name)
        asked.append(name)
        return lambda *_given, **_named: call("another argument")

    wrapped: Any = around_every_call(Consumer, inner, wrap)

    assert asked == ["commit", "join", "leave", "poll"]
    assert wrapped.poll(5) is inner.answers["poll"]
    assert wrapped.pause(()) is inner.answers["pause"]
    assert inner.calls == [("poll", ("another argument",), {}), ("pause", ((),), {})]


def test_a_port_with_something_around_its_calls_is_that_port_and_nothing_more() -> None:
    inner: Any = Inner(DedupeStore)
    inner.evict = None

    wrapped = around_every_call(DedupeStore, inner, lambda _name, call: call)

    assert sorted(vars(wrapped)) == ["claim", "complete", "release"]


def test_nothing_goes_around_the_calls_of_a_port_that_lacks_one() -> None:
    half: Any = SimpleNamespace(claim=None, complete=None)

    with pytest.raises(AttributeError, match="release"):
        around_every_call(DedupeStore, half, lambda _name, call: call)


def test_methods_that_return_at_once_are_not_awaited() -> None:
    assert awaited_methods(Publisher) == ("publish",)
    assert "wake" not in awaited_methods(Consumer)
    assert "now_us" not in awaited_methods(Clock)


# ---- no third way

CASTS = {
    "ports/every_call.py": "the port is put together by name",
}
"""Where a cast is no wrapper in disguise, and why."""

NAMESPACES = ("ports/every_call.py",)

SUSPICIOUS = re.compile(
    r"__getattr|setattr\(self|__dict__|vars\(self|SimpleNamespace|cast\(|self\.(\w+) = .*\.\1\b"
)
"""A module without any of this is not read closely: most have nothing of it."""


@cache
def port_names() -> set[str]:
    return {
        node.name
        for path in (LAB / "ports").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }


def other_ways(text: str, module: str = "any.py") -> list[str]:
    """What in a module wraps a port in a way that no type checker can follow."""
    found: list[str] = []
    if not SUSPICIOUS.search(text):
        return found
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef():
                found += [
                    f"{node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef)
                    and method.name in ("__getattr__", "__getattribute__")
                ]
            case ast.FunctionDef(name="__init__"):
                found += copied_methods(node)
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id="self"), *_]):
                found.append("setattr(self, ...)")
            case ast.Attribute(value=ast.Name(id="self"), attr="__dict__"):
                found.append("self.__dict__")
            case ast.Call(func=ast.Name(id="vars"), args=[ast.Name(id="self")]):
                found.append("vars(self)")
            case ast.Name(id="SimpleNamespace") if module not in NAMESPACES:
                found.append("SimpleNamespace")
            case ast.Call(func=ast.Name(id="cast")) if module not in CASTS:
                found.append(f"cast({ast.unparse(node.args[0])}, ...)")
    return found


def copied_methods(init: ast.FunctionDef) -> list[str]:
    """`self.load = store.load` of a parameter that is a port."""
    takes = [*init.args.args, *init.args.kwonlyargs]
    ports = {
        each.arg
        for each in takes
        if each.annotation is not None and ast.unparse(each.annotation) in port_names()
    }
    return [
        f"self.{name} = {port}.{name}"
        for node in ast.walk(init)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and isinstance(node.value, ast.Attribute)
        for name, port in [(target.attr, ast.unparse(node.value.value))]
        if name == node.value.attr and port in ports
    ]


def test_the_package_wraps_ports_in_these_two_ways_only() -> None:
    paths = sorted(LAB.rglob("*.py"))
    assert paths
    found = {
        module: ways
        for path in paths
        if (ways := other_ways(path.read_text("utf-8"), module := path.relative_to(LAB).as_posix()))
    }

    assert found == {}


@pytest.mark.parametrize(
    ("offender", "way"),
    [
        (
            "class D:\n    def __init__(self, store: OrderStore):\n        self.load = store.load",
            "self.load = store.load",
        ),
        (
            "class Struck:\n    def __getattr__(self, name):\n        return self.inner[name]",
            "Struck.__getattr__",
        ),
        (
            "class Struck:\n    def __init__(self, call):\n        setattr(self, 'poll', call)",
            "setattr(self, ...)",
        ),
        (
            "class Around:\n    def __init__(self, **calls):\n        self.__dict__.update(calls)",
            "self.__dict__",
        ),
        ("guarded = SimpleNamespace(send=guard(mailer.send))", "SimpleNamespace"),
        ("store = cast('OrderStore', half)", "cast('OrderStore', ...)"),
    ],
)
def test_another_way_to_wrap_a_port_is_found(offender: str, way: str) -> None:
    assert other_ways(offender) == [way]


@pytest.mark.parametrize(
    "innocent",
    [
        "class R:\n    def __init__(self, inner: OrderStore):\n        self._commit = inner.commit",
        "def __getattr__(name):\n    raise AttributeError(name)",
        "setattr(owner, name, guard)",
        "class C:\n    def __init__(self, row: Row):\n        self.epoch = row.epoch",
    ],
)
def test_what_wraps_no_port_is_spared(innocent: str) -> None:
    assert other_ways(innocent) == []


@pytest.mark.parametrize("module", sorted({*CASTS, *NAMESPACES}))
def test_no_exception_outlives_its_reason(module: str) -> None:
    assert other_ways((LAB / module).read_text("utf-8")) != []
