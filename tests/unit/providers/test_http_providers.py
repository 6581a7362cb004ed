"""The wire to the third parties: bad requests, bad answers, and the file of their ledger."""

import asyncio
import resource
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.domain.errors import (
    Down,
    EnvironmentNotReady,
    Indeterminate,
    LabError,
    Permanent,
    Throttled,
    Transient,
)
from lab.history.facts import LedgerEntry
from lab.ports.faults import CallFault, CallFaultKind
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer, NotSent, PoolExhausted
from lab.providers.http_client import HttpProviders
from lab.providers.http_front import BODY_BYTES_MAX, make_front
from lab.providers.ledger_file import ledger_entries, ledger_file
from lab.runtime.asgi_call import call
from lab.runtime.clock import SystemClock
from tests.contract.provider_worlds import (
    SOON_US,
    HttpWorld,
    charge,
    ledger_lines,
    mail,
    make_third_parties,
    outcome,
    query,
    refund,
    subject_of,
)
from tests.kit.entries import of_type

MS = 1_000
CLOCK = SystemClock()


# ---- what the client makes of answers


class Prepared(HttpSender):
    """Gives one answer to everything, and keeps what it was sent."""

    def __init__(self, answer: HttpAnswer | Exception) -> None:
        self.answer = answer
        self.sent: list[tuple[str, dict[str, str], Any]] = []

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        assert timeout_us > 0
        self.sent.append((f"{method} {path}", dict(headers), msgspec.json.decode(body)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Client:
    """A process that talks to `Prepared`."""

    def __init__(self, answer: HttpAnswer | Exception) -> None:
        self.http = Prepared(answer)
        self.clock = CLOCK
        self.providers = HttpProviders(
            http=self.http, clock=CLOCK, wall_us=CLOCK.wall_us, subject_of=subject_of
        )

    def ask_all(self) -> dict[str, object]:
        """What each call came to."""
        providers, soon_us = self.providers, CLOCK.now_us() + SOON_US
        world: Any = self

        async def main() -> dict[str, object]:
            calls: dict[str, Coroutine[Any, Any, object]] = {
                "in_stock": providers.warehouse.in_stock("o1.1", (), deadline_us=soon_us),
                "is_fraud": providers.antifraud.is_fraud("o1.1", "c", 5, deadline_us=soon_us),
                "charge": charge(world),
                "refund": refund(world, "r", "c"),
                "query": query(world),
                "send": mail(world, "m"),
            }
            return {name: await outcome(each) for name, each in calls.items()}

        return asyncio.run(main())


def answer(status: int, body: bytes = b"{}", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, tuple(headers.items()), body)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(NotSent("x"), Transient), (PoolExhausted("x"), Down), (NoAnswer("x"), Indeterminate)],
)
def test_a_request_without_answer_is_judged_by_how_far_it_got(
    failure: Exception, expected: type[LabError]
) -> None:
    assert set(Client(failure).ask_all().values()) == {expected}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Permanent), (404, Permanent), (413, Permanent), (401, Down), (403, Down),
        (409, Throttled), (429, Throttled), (500, Transient), (502, Transient), (504, Transient),
    ],
)  # fmt: skip
def test_every_status_is_an_error_class(status: int, expected: type[LabError]) -> None:
    assert set(Client(answer(status, b"whatever")).ask_all().values()) == {expected}


@pytest.mark.parametrize(
    "bad",
    [
        answer(200, b""),
        answer(200, b"<html>"),
        answer(200, b'{"state":"stolen"}'),
        answer(200, b'{"state":"capt\xff'),
        answer(200, b'{"reason":"\xff"}'),
        answer(200, b'{"answer":1,"known":[{}]}'),
        answer(204, b'{"state":"captured","answer":true,"known":[]}'),
        answer(302, b'{"state":"captured","answer":true,"known":[]}', location="/"),
    ],
)
def test_an_answer_that_makes_no_sense_proves_nothing(bad: HttpAnswer) -> None:
    assert Client(bad).ask_all() == {
        "in_stock": Transient,
        "is_fraud": Transient,
        "charge": Indeterminate,
        "refund": Indeterminate,
        "query": Transient,
        "send": Indeterminate,
    }


@pytest.mark.parametrize(
    ("headers", "after_us"),
    [
        ({"retry-after": "2"}, 2_000_000),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1_500_000),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 500_000),
        ({"retry-after": "-1"}, 500_000),
        ({"retry-after": "9" * 30}, 500_000),
        ({}, 500_000),
    ],
)
def test_a_hint_is_read_or_replaced(headers: dict[str, str], after_us: int) -> None:
    client: Any = Client(HttpAnswer(429, tuple(headers.items()), b""))

    with pytest.raises(Throttled) as busy:
        asyncio.run(charge(client))

    assert busy.value.after_us == after_us


def test_a_deadline_is_sent_as_length_and_as_instant() -> None:
    client: Any = Client(answer(200, b'{"state":"captured"}'))
    before_ms = CLOCK.wall_us() // MS

    asyncio.run(charge(client, within_us=1_500 * MS))

    path, headers, body = client.http.sent[0]
    assert path == "POST /payment_gateway/charge"
    assert 1_300 < int(headers["lab-timeout-ms"]) < 1_500
    assert 1_490 <= int(headers["lab-deadline-ms"]) - before_ms < 1_700
    assert headers["idempotency-key"] == "charge:o1.1:1"
    assert headers["lab-subject"] == "1.1"
    assert body == {"order_id": "o1.1", "amount_cents": 500, "currency": "GBP"}


def test_a_call_without_deadline_sends_none() -> None:
    client: Any = Client(answer(200, b'{"state":"captured"}'))

    asyncio.run(charge(client, within_us=1 << 60))

    assert not {"lab-timeout-ms", "lab-deadline-ms"} & client.http.sent[0][1].keys()


# ---- what the front makes of requests


@contextmanager
def front(path: Path) -> Iterator[Any]:
    with ledger_file(path, clock=CLOCK) as ledger:
        servers = make_third_parties(now_us=CLOCK.now_us, write=ledger.write, latency_us=0)
        yield make_front(servers, ledger=ledger, clock=CLOCK)


GOOD = {"order_id": "o1.1", "amount_cents": 5, "currency": "GBP"}


def ask(
    app: Any,
    path: str = "/payment_gateway/charge",
    body: object = None,
    method: str = "POST",
    **headers: str,
) -> HttpAnswer:
    sent = body if isinstance(body, bytes | list) else msgspec.json.encode(body or GOOD)
    named = {"idempotency_key": "k", **headers}
    pairs = [(name.replace("_", "-"), value) for name, value in named.items() if value]
    return asyncio.run(call(app, method, path, pairs, sent))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({}, 200),
        ({"path": "/payment_gateway/steal"}, 404),
        ({"path": "/bank/charge"}, 404),
        ({"path": "/mailer/send/"}, 404),
        ({"method": "GET"}, 405),
        ({"body": b"{"}, 400),
        ({"body": b'{"order_id":"\xff"}'}, 400),
        ({"body": b"[]"}, 400),
        ({"body": {"order_id": ""}}, 400),
        ({"body": {"order_id": "o", "amount_cents": -1}}, 400),
        ({"body": {"order_id": "o", "amount_cents": "5"}}, 400),
        ({"body": {"amount_cents": 5}}, 400),
        ({"body": [b" " * BODY_BYTES_MAX, b"{}"]}, 413),
        ({"idempotency_key": ""}, 400),
        ({"idempotency_key": "k" * 256}, 400),
        ({"idempotency_key": "\x00"}, 400),
        ({"lab_subject": "\xe9"}, 400),
        ({"lab_timeout_ms": "soon"}, 400),
        ({"lab_timeout_ms": "-5"}, 400),
        ({"lab_deadline_ms": "1e9"}, 400),
        ({"lab_deadline_ms": "9" * 18}, 400),
        ({"lab_timeout_ms": "0"}, 504),
        ({"lab_deadline_ms": "1"}, 504),
        ({"lab_timeout_ms": "5000", "lab_deadline_ms": "1"}, 504),
        ({"lab_timeout_ms": "5000", "lab_deadline_ms": "9" * 17}, 200),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(
    request_: dict[str, Any], status: int, tmp_path: Path
) -> None:
    with front(tmp_path / "ledger") as app:
        assert ask(app, **request_).status == status

    assert len(list(ledger_entries(tmp_path / "ledger"))) == (1 if status == 200 else 0)


@pytest.mark.slow
@settings(max_examples=25)
@given(body=st.binary(max_size=60), timeout=st.text(max_size=5))
def test_no_request_is_answered_with_a_5xx_of_its_own(
    body: bytes, timeout: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with front(tmp_path_factory.mktemp("front") / "ledger") as app:
        sent = timeout.encode("latin-1", "replace").decode("latin-1")
        assert ask(app, body=body, lab_timeout_ms=sent).status in (200, 400, 504)


def test_health_is_told(tmp_path: Path) -> None:
    with front(tmp_path / "ledger") as app:
        assert ask(app, "/health", method="GET").status == 200
        assert ask(app, "/ready", method="GET").status == 200


# ---- over sockets


def in_http_world(
    test: Callable[[HttpWorld], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        world = HttpWorld(tmp_path / "ledger.ndjson")
        world.run(test(world))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@pytest.mark.slow
@in_http_world
async def test_a_stop_does_not_say_that_nothing_was_done(world: HttpWorld) -> None:
    world.faults.faults = [CallFault(kind=CallFaultKind.HANG_AFTER_EFFECT)]
    call = world.start(outcome(charge(world)))
    while not await world.ledger():
        assert not call.done()

    world.server.stop()
    await world.server._server.stopped.wait()

    assert await call is Indeterminate


# ---- the file


@pytest.mark.slow
@in_http_world
async def test_the_file_tells_the_same_as_the_front(world: HttpWorld) -> None:
    for key in ("a", "b", "a"):
        await charge(world, key)
    await refund(world, "r", "a")
    await mail(world, "m")

    told = await world.ledger()

    assert list(ledger_entries(world.ledger_file.path)) == told
    assert len(told) == 4


def test_a_torn_last_line_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with front(path) as app:
        ask(app)
        ask(app, idempotency_key="second")
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1

    path.write_bytes(whole[:-1])
    with front(path) as app:
        assert path.read_bytes() == whole[:first]
        ask(app, idempotency_key="second")
        ask(app)

    lines = of_type(ledger_entries(path), LedgerEntry)
    assert [line.key for line in lines] == ["k", "second"]


@pytest.mark.parametrize("damage", [b"{}\n", b"\n", b"\xff\n", b'{"t_us":1\n'])
def test_a_damaged_line_is_named_and_nothing_is_started(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with front(path) as app:
        ask(app)
    path.write_bytes(path.read_bytes() + damage + b"{}")
    before = path.read_bytes()

    with pytest.raises(EnvironmentNotReady, match="line 2 is damaged"), front(path):
        pass

    assert path.read_bytes() == before


def test_one_process_keeps_a_ledger_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with (
        front(path),
        pytest.raises(EnvironmentNotReady, match="another process keeps it"),
        front(path),
    ):
        pass

    with front(path):
        pass


def test_a_ledger_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentNotReady, match="No such file"), front(tmp_path / "no" / "file"):
        pass


@pytest.mark.slow
@in_http_world
async def test_what_cannot_be_written_is_told_to_nobody(world: HttpWorld) -> None:
    await charge(world, "a")
    path = world.ledger_file.path
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Ten bytes fit, so the line is torn before it fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        assert await outcome(charge(world, "b", within_us=300 * MS)) is Indeterminate
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert path.stat().st_size == size
    assert await outcome(charge(world, "c", within_us=300 * MS)) is Indeterminate
    health = await world.http.send("GET", "/health", headers=(), body=b"", timeout_us=SOON_US)
    assert health.status == 503

    await world.restart()
    assert await query(world) == [("a", "captured")]
    await charge(world, "b")
    assert [line.key for line in await ledger_lines(world)] == ["a", "b"]
