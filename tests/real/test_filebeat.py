"""A real Filebeat with `elk/filebeat.yml` and a real search server: nothing lost, nothing twice.

Skipped by name where Go is missing, and in CI: Filebeat is built from its source.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.observe import ship
from lab.runtime.http_caller import http_caller
from tests.kit.filebeat_process import CONFIG, Filebeat
from tests.kit.real_servers import need, need_filebeat
from tests.kit.search_server import SearchServer, run_setup, stream_of
from tests.kit.seen import Seen, entries_of
from tests.kit.telemetry import Record, faults_of, make_error, make_log, make_span, make_transaction

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.timeout(2_000),
]

WAIT_S_MAX = 300
LINES = 20_000
KILLS = 3
UNPARSED = "logs-lab.unparsed-default"


def document_id(record: Record) -> str:
    """The id under which the lab itself would ship it: Filebeat must have made the same."""
    return ship.document_id(record["event"]["id"])


class Place:
    """Folders for one test, and the streams of its own namespace."""

    def __init__(self, server: SearchServer, folder: Path) -> None:
        self.server = server
        self.namespace = re.sub(r"\W", "", f"t{time.time_ns()}")
        self.folder = folder
        self.run = folder / "runs" / "duplicates" / "20260101T000000Z-s7"
        self.telemetry = folder / "telemetry"
        self.state = folder / "state"
        for one in (self.run, self.telemetry, self.state):
            one.mkdir(parents=True)
        self.streams = [
            f"{name}-{self.namespace}"
            for name in ("logs-orders.lab", "traces-apm", "logs-apm.error")
        ]
        self._started: list[Filebeat] = []

    def filebeat(self, config: Path = CONFIG) -> Filebeat:
        """A Filebeat over these folders, started."""
        one = Filebeat(
            need_filebeat(),
            url=self.server.url,
            runs=self.folder / "runs",
            telemetry=self.telemetry,
            state=self.state,
            config=config,
        )
        self._started.append(one)
        one.start()
        return one

    def stop(self) -> None:
        """End every Filebeat that runs."""
        for one in self._started:
            one.stop()

    def ours(self, record: Record) -> Record:
        """The record in this place's namespace."""
        record["data_stream"]["namespace"] = self.namespace
        return record

    def stored(self) -> int:
        """How many records have arrived."""
        return sum(self.server.count(stream) for stream in self.streams)

    def wait_stored(self, count: int) -> None:
        """Wait until that many records have arrived, at least."""
        _wait(count, self.stored)

    def wait_unparsed(self, count: int) -> None:
        """Wait until that many lines that are no records have arrived, at least."""
        _wait(count, lambda: len(self.unparsed()))

    def read(self) -> set[str]:
        """The paths that Filebeat has taken up, as it remembers them."""
        kept = (self.state / "data" / "registry").rglob("*.json")
        return {
            path
            for file in kept
            for path in re.findall(
                r"filestream::pulse-lab::path::([^\"]+)", file.read_text("utf-8")
            )
        }

    def unparsed(self) -> dict[int, Record]:
        """The lines of this place's files that were no records, by their positions."""
        inside = {"prefix": {"log.file.path": str(self.folder)}}
        found = self.server.documents(UNPARSED, inside).values()
        assert len({one["log"]["offset"] for one in found}) == len(found)
        return {one["log"]["offset"]: one for one in found}


def _wait(count: int, arrived: Callable[[], int]) -> None:
    end = time.monotonic() + WAIT_S_MAX
    while (now := arrived()) < count:
        assert time.monotonic() < end, f"{now} of {count} after {WAIT_S_MAX} s"
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place; afterwards its streams are gone, but not the one of unparsed lines: it is shared."""
    with SearchServer(need("search")) as server:
        need_filebeat()
        done = run_setup(server.url)
        assert done.returncode == 0, done.stdout
        place = Place(server, tmp_path)
        yield place
        place.stop()
        server.forget(*place.streams)


def written(records: list[Record]) -> str:
    """The lines of the records."""
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def test_20000_lines_over_three_kills_are_stored_once_each(place: Place) -> None:
    logs = [place.ours(make_log(n)) for n in range(LINES * 3 // 4)]
    spans = [place.ours(make_transaction(n)) for n in range(LINES // 4)]
    # A run is there from the start; the lab's own processes go on writing while Filebeat is killed.
    kept, live = logs[: LINES // 4], logs[LINES // 4 :]
    (place.run / "logs.ndjson").write_text(written(kept), "utf-8")
    (place.run / "spans.ndjson").write_text(written(spans), "utf-8")
    part = len(live) // (KILLS + 1)
    filebeat = place.filebeat()
    reached = []
    with (place.telemetry / "work-payment.logs.ndjson").open("a", encoding="utf-8") as file:
        for number in range(KILLS):
            before = place.stored()
            file.write(written(live[number * part : (number + 1) * part]))
            # A line that is not whole when Filebeat is killed.
            rest = written(live[(number + 1) * part :][:1])
            file.write(rest[:40])
            file.flush()
            place.wait_stored(before + 1)
            filebeat.kill()
            reached.append(place.stored())
            file.write(rest[40:])
            del live[(number + 1) * part]
            filebeat.start()
        file.write(written(live[KILLS * part :]))
    place.wait_stored(LINES)
    # One that comes later would be one too much: a last line is written and waited for.
    last = place.ours(make_log(LINES))
    (place.telemetry / "last.logs.ndjson").write_text(written([last]), "utf-8")
    place.wait_stored(LINES + 1)

    assert all(count < LINES for count in reached), f"every kill came too late: {reached}"
    assert filebeat.is_running()
    wanted = {document_id(one): one for one in (*logs, *spans, last)}
    found: dict[str, Any] = {}
    for stream in place.streams:
        found |= place.server.documents(stream)
    assert len(found) == LINES + 1
    # The document is the record, whoever ships it.
    assert found == wanted
    assert place.unparsed() == {}


BAD = [
    "Traceback (most recent call last):",
    "",
    '{"broken',
    "[1, 2]",
    "null",
    '"a word"',
    '{"a": 1}',
    '{"log": "x", "event": "y", "data_stream": "z", "message": {"a": 2}}',
    "\x1b[31mred\x1b[0m \u202eünï ❤ \U0001f600",
    "x" * 20_000,
]


def test_a_line_that_is_no_record_is_kept_as_it_is_and_harms_no_other(place: Place) -> None:
    strangers = [
        make_log(1, data_stream__dataset="../../etc"),
        make_log(2, data_stream__type="metrics"),
        make_log(3, data_stream__namespace="Not-One"),
        make_log(4, **{"@timestamp": "yesterday"}),
    ]
    bad = [*BAD, *(json.dumps(record) for record in strangers)]
    good = [place.ours(make_log(n)) for n in (10, 11)]
    lines = [json.dumps(good[0]), *bad, json.dumps(good[1])]
    (place.telemetry / "a.logs.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
    place.filebeat()
    kept = [line for line in bad if line]
    place.wait_stored(2)
    place.wait_unparsed(len(kept))

    assert set(place.server.documents(place.streams[0])) == {document_id(one) for one in good}
    found = [one for _, one in sorted(place.unparsed().items())]
    assert [one["message"] for one in found] == kept
    assert {one["error"]["message"] for one in found} == {"no log record and no span of the lab"}
    for one in found:
        assert set(one) == {"@timestamp", "data_stream", "error", "log", "message"}


def test_a_bad_line_is_kept_once_though_it_is_read_twice(place: Place) -> None:
    file = place.telemetry / "a.logs.ndjson"
    file.write_text("no record\n" * 50, "utf-8")
    filebeat = place.filebeat()
    place.wait_unparsed(50)
    filebeat.kill()
    # It has forgotten how far it had come.
    place.state.rename(place.folder / "old")
    place.state.mkdir()
    filebeat.start()
    with file.open("a", encoding="utf-8") as end:
        end.write("one more\n")
    place.wait_unparsed(51)

    assert len(place.unparsed()) == 51


def test_only_whole_run_folders_are_read_and_the_newest_not_twice(place: Place) -> None:
    record = place.ours(make_log(1))
    (place.run / "logs.ndjson").write_text(written([record]), "utf-8")
    (place.folder / "runs" / "latest").symlink_to("duplicates/20260101T000000Z-s7")
    aside = place.run.parent / ".20260101T000001Z-s8"
    aside.mkdir()
    early = place.ours(make_log(2))
    (aside / "logs.ndjson").write_text(written([early]), "utf-8")
    (place.run / "history.ndjson").write_text('{"kind": "row"}\n', "utf-8")
    filebeat = place.filebeat()
    place.wait_stored(1)
    whole = aside.rename(place.run.parent / "20260101T000001Z-s8")
    place.wait_stored(2)
    later = place.ours(make_span(3))
    (whole / "spans.ndjson").write_text(written([later]), "utf-8")
    place.wait_stored(3)

    assert filebeat.is_running()
    assert place.read() == {
        str(folder / name)
        for folder, name in (
            (place.run, "logs.ndjson"),
            (whole, "logs.ndjson"),
            (whole, "spans.ndjson"),
        )
    }
    assert place.unparsed() == {}


def test_a_record_that_is_right_by_the_list_is_stored_as_it_is(place: Place) -> None:
    links = [{"trace": {"id": "a"}, "span": {"id": "b"}}]
    records = [
        place.ours(
            make_log(1, labels__order_id="o1", lab__state="NEW", message="ünï\n\t\x1b[0m ❤")
        ),
        place.ours(make_span(2, span__links=links, error__type="Transient", agent__version="1")),
        place.ours(make_error(2)),
    ]
    for record in records:
        assert (
            faults_of({**record, "data_stream": {**record["data_stream"], "namespace": "default"}})
            == []
        )
    (place.run / "logs.ndjson").write_text(written(records[:1]), "utf-8")
    (place.run / "spans.ndjson").write_text(written(records[1:]), "utf-8")
    place.filebeat()
    place.wait_stored(3)

    for record in records:
        assert place.server.documents(stream_of(record)) == {document_id(record): record}


def test_a_run_that_filebeat_has_shipped_is_there_already_for_the_lab(place: Place) -> None:
    documents = [place.ours(one) for one in Seen(entries_of("everything", 2), 2).documents()]
    killed = [one for one in documents if one["data_stream"]["dataset"] == "apm.error"]
    assert killed
    spans = [one for one in documents if one["data_stream"]["dataset"] == "apm"]
    logs = [one for one in documents if one["data_stream"]["dataset"] != "apm"]
    (place.run / "spans.ndjson").write_text(written(spans), "utf-8")
    (place.run / "logs.ndjson").write_text(written(logs), "utf-8")
    place.filebeat()
    place.wait_stored(len(documents))
    assert place.unparsed() == {}

    shipped = asyncio.run(_ship(documents, place.server.url))

    assert (shipped.created, shipped.existing, shipped.refused) == (0, len(documents), 0)
    assert place.stored() == len(documents)
    by_id = {document_id(one): one for one in documents}
    for stream in place.streams:
        found = place.server.documents(stream)
        assert found == {name: by_id[name] for name in found}, stream


async def _ship(documents: list[Record], url: str) -> ship.Shipped:
    async with http_caller(url, connections_max=1) as caller:
        return await ship.ship(
            documents, caller, address=url, sleep_us=lambda us: asyncio.sleep(us / 1e6)
        )


def test_what_a_process_of_the_lab_logs_arrives(place: Place) -> None:
    variables = {**os.environ, "LAB_TELEMETRY": str(place.telemetry)}  # noqa: TID251 - handed on
    name = place.namespace
    command = ["providers", "--port", "0", "--ledger", str(place.folder / "ledger.ndjson")]
    place.filebeat()
    with subprocess.Popen(
        [sys.executable, "-m", "lab", *command],
        env={**variables, "LAB_NAME": name},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    ours = {"term": {"labels.run_id": name}}
    _wait(1, lambda: place.server.count("logs-orders.lab-default", ours))

    (found,) = place.server.documents("logs-orders.lab-default", ours).values()
    assert found["event"]["action"] == "ready"
    assert found["service"]["name"] == "lab-providers"
    (file,) = place.telemetry.iterdir()
    (line,) = file.read_text("utf-8").splitlines()
    assert found["message"] == json.loads(line)["message"]
    place.server.ask("POST", "/logs-orders.lab-default/_delete_by_query", {"query": ours})
