"""`lab ship` into a real search server: what is stored, read back, refused and lost on the way."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from lab.cli import app
from lab.observe.fields import Document
from lab.observe.ship import Shipped, document_id, ship
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer
from lab.runtime.clock import SystemClock
from lab.runtime.http_caller import http_caller
from tests.kit.filebeat_process import Filebeat
from tests.kit.real_servers import need, need_filebeat
from tests.kit.search_server import SearchServer, stream_of
from tests.kit.telemetry import make_log

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(180),
]

STREAMS: Final = ("logs-orders.lab-default", "traces-apm-default", "logs-apm.error-default")
WAIT_S_MAX: Final = 100

Call = Callable[..., str]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs one command that ends well; gives its output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        assert app.run_command(arguments) == 0, capsys.readouterr()
        return capsys.readouterr().out

    return run


@pytest.fixture
def server(call: Call) -> Iterator[SearchServer]:
    """The server with the templates loaded and no stream, before and after."""
    with SearchServer(need("search")) as server:
        server.forget(*STREAMS)
        call("ship", "--templates")
        yield server
        server.forget(*STREAMS)


def kept_run(call: Call) -> str:
    """The id of a run with duplicates, retries and a crash."""
    call(
        "run", "crashes", "--orders", "60", "--seed", "3",
        "--fault", "bus.duplicate rate=0.2", "--quiet",
    )  # fmt: skip
    folder = Path("runs/latest").resolve()
    return f"{folder.parent.name}/{folder.name}"


def lines_of(folder: str) -> list[dict[str, Any]]:
    """Every line of both files."""
    return [
        json.loads(line)
        for name in ("spans.ndjson", "logs.ndjson")
        for line in Path(folder, name).read_text("utf-8").splitlines()
    ]


def stored_of(server: SearchServer, run_id: str) -> dict[str, dict[str, Any]]:
    """Every document of the run by its id."""
    return {
        name: document
        for stream in STREAMS
        if server.count(stream)
        for name, document in server.documents(
            stream, {"term": {"labels.run_id": run_id}}
        ).items()
    }  # fmt: skip


def test_every_template_is_accepted_and_accepted_again(server: SearchServer, call: Call) -> None:
    states = [line.split()[0] for line in call("ship", "--templates").splitlines()]

    assert set(states) == {"loaded", "skipped"}
    for name in ("logs-orders.lab", "logs-lab.unparsed", "traces-apm.lab"):
        (kept,) = server.ask("GET", f"/_index_template/{name}")["index_templates"]
        assert "orders-lab@lifecycle" in kept["index_template"]["composed_of"]


def test_a_run_is_stored_as_its_files_say_and_once_however_often_it_is_shipped(
    server: SearchServer, call: Call
) -> None:
    run_id = kept_run(call)
    call("ship", "--to", "there")
    written = lines_of("there")

    first = json.loads(call("ship", "--json"))
    stored = stored_of(server, run_id)
    again = json.loads(call("ship", "--json"))

    assert first["sent"] == first["stored"] == first["documents"]["created"] == len(written)
    assert again["stored"] == again["documents"]["existing"] == len(written)
    assert (again["documents"]["created"], again["missing"]) == (0, 0)
    assert stored_of(server, run_id) == stored
    by_event = {one["event"]["id"]: one for one in stored.values()}
    assert by_event == {one["event"]["id"]: one for one in written}
    counts = dict.fromkeys(map(stream_of, written), 0)
    for one in written:
        counts[stream_of(one)] += 1
    assert {stream: server.count(stream) for stream in counts} == counts
    assert first["documents"]["targets"] == counts


def test_two_runs_of_one_seed_are_two_runs(server: SearchServer, call: Call) -> None:
    run_id = kept_run(call)
    call("ship")
    first = len(stored_of(server, run_id))
    folder = Path("runs", run_id)
    other = folder.rename(folder.with_name("20310101T000000Z-s3"))

    report = json.loads(call("ship", str(other), "--json"))

    assert report["documents"]["created"] == report["stored"] == first
    assert len(stored_of(server, run_id)) == first


def test_every_order_is_read_back_as_one_tree(server: SearchServer, call: Call) -> None:
    run_id = kept_run(call)
    call("ship")

    traces: dict[str, list[dict[str, Any]]] = {}
    of_run = {"term": {"labels.run_id": run_id}}
    for one in server.documents("traces-apm-default", of_run).values():
        traces.setdefault(one["trace"]["id"], []).append(one)

    assert len(traces) >= 60
    for trace_id, spans in traces.items():
        ids = {one["span"]["id"] for one in spans}
        parents = [one.get("parent", {}).get("id") for one in spans]
        assert len(ids) == len(spans), trace_id
        assert parents.count(None) == 1, trace_id
        assert [one for one in parents if one and one not in ids] == [], trace_id
    services = {one["service"]["name"] for one in max(traces.values(), key=len)}
    assert {"lab-relay", "lab-validation", "lab-payment", "lab-notification"} <= services


class LosesAnswers(HttpSender):
    """Hands requests on, and loses the answers to some: the server has done what they ask."""

    def __init__(self, inner: HttpSender, lost: Sequence[int]) -> None:
        self._inner = inner
        self._lost = lost
        self.sent = 0

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        answer = await self._inner.send(
            method, path, headers=headers, body=body, timeout_us=timeout_us
        )
        self.sent += 1
        if self.sent in self._lost:
            raise NoAnswer("the connection was lost")
        return answer


def shipped_to(
    server: SearchServer, documents: Sequence[Document], lost: Sequence[int] = ()
) -> Shipped:
    async def run() -> Shipped:
        async with http_caller(server.url, connections_max=1) as caller:
            return await ship(
                documents,
                LosesAnswers(caller, lost),
                address="",
                sleep_us=SystemClock().sleep_us,
            )

    return asyncio.run(run())


def test_an_answer_lost_in_the_middle_loses_and_doubles_nothing(server: SearchServer) -> None:
    logs = [make_log(number) for number in range(5_000)]

    shipped = shipped_to(server, logs, lost=(2, 3))

    assert (shipped.sent, shipped.created + shipped.existing) == (5_000, 5_000)
    assert shipped.existing == 2_000, "the second batch was stored and nobody heard of it"
    assert server.count(STREAMS[0]) == 5_000


def test_one_document_that_does_not_fit_is_named_and_the_others_are_stored(
    server: SearchServer,
) -> None:
    odd = {**make_log(7), "labels": "no object"}

    shipped = shipped_to(server, [make_log(6), odd, make_log(8)])

    (refusal,) = shipped.refusals
    assert (refusal.id, refusal.target) == (odd["event"]["id"], STREAMS[0])
    assert refusal.reason.startswith("400: ")
    assert "labels" in refusal.reason
    assert (shipped.created, shipped.refused) == (2, 1)
    assert server.count(STREAMS[0]) == 2


def test_a_run_is_stored_once_whoever_ships_it(
    server: SearchServer, call: Call, tmp_path: Path
) -> None:
    run_id = kept_run(call)
    folder = Path("runs", run_id)
    call("ship", "--to", str(folder))
    written = {one["event"]["id"]: one for one in lines_of(str(folder))}
    assert "apm.error" in {one["data_stream"]["dataset"] for one in written.values()}
    for name in ("telemetry", "state"):
        Path(name).mkdir()
    filebeat = Filebeat(
        need_filebeat(),
        url=server.url,
        runs=tmp_path / "runs",
        telemetry=tmp_path / "telemetry",
        state=tmp_path / "state",
    )
    filebeat.start()
    try:
        end = time.monotonic() + WAIT_S_MAX
        while (now := sum(map(server.count, STREAMS))) < len(written):
            assert time.monotonic() < end, f"{now} of {len(written)} after {WAIT_S_MAX} s"
            time.sleep(0.05)
    finally:
        filebeat.stop()
    by_filebeat = stored_of(server, run_id)

    report = json.loads(call("ship", "--json"))

    assert report["documents"]["created"] == 0
    assert report["documents"]["existing"] == report["stored"] == len(written)
    assert stored_of(server, run_id) == by_filebeat
    assert by_filebeat.keys() == {document_id(name) for name in written}
