"""`lab dlq` beside a standing system: a payment worker that was set up wrongly, and then mended."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.cli.app import run_command
from lab.cli.exit_codes import ExitCode
from lab.cli.one_process import system
from lab.patterns.redrive import Wanted
from lab.runtime.http_server import reserved_port
from lab.wiring import dead_letters
from tests.kit.http_stand_in import StandIn
from tests.kit.real_servers import need
from tests.kit.scraped import value
from tests.kit.standing_system import (
    ORDER,
    ORDER_S_MAX,
    READY_S_MAX,
    Own,
    call,
    own_services,
    running_system,
    scrape,
    start,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(240),
]

PAYMENT = "work-payment"
REFUSED = {"code": "bad_request", "detail": "no such merchant"}


@contextmanager
def payment_worker(name: str, providers: str, folder: Path) -> Iterator[Own]:
    """A worker beside a system, with third parties of its own; ended as an operator ends it."""
    variables = {
        "LAB_NAME": name,
        "LAB_POSTGRES_DSN": need("postgres"),
        "LAB_REDIS_URL": need("redis"),
        "LAB_KAFKA_BOOTSTRAP": need("kafka"),
        "LAB_PROVIDERS_URL": providers,
    }
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        own = stack.enter_context(start(PAYMENT, own_services()[PAYMENT], variables, port, folder))
        until("the worker is healthy", own.is_healthy, READY_S_MAX)
        yield own
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(timeout=30) == 0


class Operator:
    """Types commands, and reads what they print."""

    def __init__(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._name = name
        self._capsys = capsys

    def types(self, *words: str, code: ExitCode = ExitCode.PASS) -> str:
        """Standard output of a command."""
        self._capsys.readouterr()
        exit_code = run_command(["dlq", *words, "--name", self._name])
        captured = self._capsys.readouterr()
        assert exit_code == code, captured.err
        return captured.out

    def reads(self, *words: str) -> Any:
        """The document that a command prints."""
        return json.loads(self.types(*words, "--json"))


def test_dead_letters_are_listed_shown_given_up_and_once_mended_sent_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"dlq_{os.getpid()}"
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", need("kafka"))
    operator = Operator(name, capsys)
    with running_system(name, tmp_path) as running, StandIn() as wrong:
        running[PAYMENT].process.send_signal(signal.SIGTERM)
        assert running[PAYMENT].process.wait(timeout=30) == 0
        wrong.answers["POST", "/payment_gateway/charge"] = (400, REFUSED)
        orders = f"http://127.0.0.1:{running['api'].port}/orders"

        def state(order_id: str) -> object:
            return call(f"{orders}/{order_id}")["state"]

        with payment_worker(name, wrong.url, tmp_path):
            order, other = (call(orders, ORDER, key)["order_id"] for key in ("one", "two"))
            until("both are dead", lambda: len(operator.reads("list")) == 2, ORDER_S_MAX)
            assert operator.reads("discard", "--order", other, "--yes")["answered"] == 1

        (row,) = operator.reads("list", "--group", "payment", "--reason", "permanent")
        assert (row["order"], row["type"], row["redrives"]) == (order, "OrderValidated", 0)
        letter = row["letter"]
        assert operator.reads("list", "--group", "orders") == []
        assert operator.reads("list", "--older-than", "1d") == []
        assert letter[:8] in operator.types("list")
        page = operator.types("show", letter[:12])
        assert {"permanent", "lab-subject", order, letter} <= set(page.split())
        whole = operator.reads("show", letter)
        assert (whole["error"], len(whole["attempt_log"])) == ("Permanent", 1)
        assert whole["message"].split()[0] in page

        # Without a terminal nothing is sent that nobody said yes to.
        assert operator.reads("redrive")["answered"] == 0
        assert operator.reads("redrive", "--dry-run", "--yes")["answered"] == 0
        operator.types("discard", code=ExitCode.USAGE)
        assert state(order) == "PAYMENT_UNKNOWN"

        third = f"http://127.0.0.1:{running['providers'].port}"
        with payment_worker(name, third, tmp_path):
            asked = system(name, None)
            chosen = dead_letters.letters(asked, Wanted())

            def send() -> int:
                return dead_letters.answer(
                    asked, chosen, is_discard=False, rate=10, write=lambda _: None
                )

            with ThreadPoolExecutor(2) as pool:
                both = [pool.submit(send) for _ in range(2)]
            assert sum(one.result() for one in both) in (1, 2)
            until("it is paid after all", lambda: state(order) == "CONFIRMED", ORDER_S_MAX)

            assert operator.reads("redrive", "--yes") == {"letters": [], "answered": 0}
            assert send() == 0
            moved = {"provider": "payment_gateway", "action": "capture"}
            assert value(scrape(running["providers"]), "lab_ledger_entries_total", **moved) == 1
        assert state(other) == "PAYMENT_UNKNOWN"


def test_a_system_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_KAFKA_BOOTSTRAP", need("kafka"))
    for command in ("list", "show", "redrive"):
        assert run_command(["dlq", command, "--name", "nobody"]) == ExitCode.NOT_READY
        assert "the system nobody" in capsys.readouterr().err
