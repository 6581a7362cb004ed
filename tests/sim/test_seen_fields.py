"""Documents of whole runs: every field is on the list, every panel finds what it asks for.

Not here: trees and lives (`test_seen_runs`), what a server makes of documents (`tests/real`).
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
import pytest

from lab import run
from lab.history.calls import ActedEntry
from lab.history.entries import Entry
from lab.history.facts import AppendedEntry, CommittedEntry, RowEntry
from lab.observe.fields import Document
from lab.scenarios.loader import load_catalogue
from lab.wiring.seen_run import SeenRun
from tests.kit.entries import of_type
from tests.kit.saved_objects import fields_of, read_objects
from tests.kit.seen import Seen, entries_of
from tests.kit.telemetry import faults_of, leaves_of

pytestmark = pytest.mark.slow

SHIPPED = tuple(load_catalogue())
RUNS = [*((name, 1) for name in SHIPPED), *(("everything", seed) for seed in range(2, 6))]
FEW = ("happy-path", "everything", "dlq-redrive", "crashes", "cancellation", "poison-message")
LATER = ("black-friday", "flapping-gateway", "graceful-shutdown", "duplicates")
"""What the others do not reach: a shed request, a breaker, a drain, suppressed duplicates."""

OF_A_LIVE_PROCESS = {"error.message", "log.file.path"}
"""Fields that panels name and only a process or Filebeat writes."""


@lru_cache(maxsize=1)
def documents_of(scenario: str, seed: int, *off: str) -> list[Document]:
    return Seen(entries_of(scenario, seed, *off), seed).documents()


def all_documents() -> Iterator[Document]:
    for name in (*FEW, *LATER):
        yield from documents_of(name, 1)
    yield from documents_of("duplicates", 1, "dedupe")


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_every_document_of_a_run_is_right_by_the_list(scenario: str, seed: int) -> None:
    documents = documents_of(scenario, seed)

    assert len(documents) > 400
    assert Counter(fault for one in documents for fault in faults_of(one)) == {}


@pytest.mark.parametrize(("scenario", "seed"), RUNS)
def test_every_document_has_an_id_of_its_own_in_its_stream(scenario: str, seed: int) -> None:
    ids = Counter(
        (stream_of(one), str(text_of(one, "event.id"))) for one in documents_of(scenario, seed)
    )

    assert [name for name, count in ids.items() if count > 1] == []


def text_of(document: Document, name: str) -> object:
    """One field."""
    return dict(leaves_of(document)).get(name)


def stream_of(document: Document) -> str:
    return f"{text_of(document, 'data_stream.type')}-{text_of(document, 'data_stream.dataset')}"


def test_a_stray_field_is_found() -> None:
    document = json.loads(json.dumps(documents_of("happy-path", 1)[0]))
    assert faults_of(document) == []
    document["lab"]["colour"] = "red"

    assert faults_of(document) == ["lab.colour is not on the list"]


def test_every_field_and_value_that_a_panel_names_is_in_some_run() -> None:
    written: set[str] = set()
    values: set[tuple[str, str]] = set()
    for document in all_documents():
        for name, value in leaves_of(document):
            written.add(name)
            values.add((name, str(value)))
    asked = list(fields_of(read_objects()))

    assert {one.field for one in asked} - written == OF_A_LIVE_PROCESS
    unseen = {
        f"{one.field}:{value}"
        for one in asked
        for value in one.values
        if (one.field, value) not in values and one.field not in ("log.level", "event.outcome")
    }
    assert unseen == set()


def test_the_states_of_orders_are_those_of_their_rows() -> None:
    rows = of_type(entries_of("cancellation", 1), RowEntry)
    states = [
        one
        for one in documents_of("cancellation", 1)
        if text_of(one, "event.action") == "order-state"
    ]

    assert [text_of(one, "lab.state") for one in states] == [row.state for row in rows]
    assert [text_of(one, "labels.order_id") for one in states] == [row.subject for row in rows]
    created: dict[str, int] = {}
    for row, state in zip(rows, states, strict=True):
        begun = created.setdefault(row.subject, row.t_us)
        assert text_of(state, "event.duration") == 1_000 * (row.t_us - begun)


@pytest.mark.parametrize(("off", "by"), [((), "dedupe"), (("dedupe",), "inbox")])
def test_a_suppressed_duplicate_is_said_of_its_delivery(off: tuple[str, ...], by: str) -> None:
    entries = entries_of("duplicates", 1, *off)
    stopped = Counter(
        acted.pattern
        for acted in of_type(entries, ActedEntry)
        if acted.what == "suppressed" and acted.pattern in ("dedupe", "inbox")
    )
    told = Counter(
        str(text_of(one, "labels.suppressed_by"))
        for one in documents_of("duplicates", 1, *off)
        if text_of(one, "event.action") == "deliver" and text_of(one, "labels.suppressed_by")
    )

    assert stopped[by] >= 3
    assert told == stopped


def test_the_lag_of_a_group_is_what_is_appended_and_not_committed() -> None:
    entries = entries_of("everything", 1)
    lags = [one for one in documents_of("everything", 1) if text_of(one, "event.action") == "lag"]
    groups = {text_of(one, "messaging.consumer.group.name") for one in lags}

    assert groups >= {"orders", "payment", "validation", "notification"}
    assert all(isinstance(lag := text_of(one, "lab.lag"), int) and lag >= 0 for one in lags)
    assert max(lag for one in lags if isinstance(lag := text_of(one, "lab.lag"), int)) > 1
    # In the end everybody has come to the end of the topics.
    for group in groups:
        last = [one for one in lags if text_of(one, "messaging.consumer.group.name") == group][-1]
        assert text_of(last, "lab.lag") == behind(entries, group), group


def behind(entries: Collection[Entry], group: object) -> int:
    """How far a group is behind at the end of a run."""
    ends = Counter((one.topic, one.partition) for one in of_type(entries, AppendedEntry))
    done = {
        (one.topic, one.partition): one.offset
        for one in of_type(entries, CommittedEntry)
        if one.group == group and one.accepted
    }
    topics = {topic for topic, _ in done}
    return sum(end - done.get(place, 0) for place, end in ends.items() if place[0] in topics)


# ---- bad input

MARK = "zq9"
SKUS = [
    f"{MARK}\n{MARK}\r\n",
    f"\x1b[31m{MARK}\x1b[0m\x07",
    f"{MARK}\u2028\u2029\x85\x00",
    f'{MARK}"\\{{}}%s%(x)d',
    (MARK + "".join(chr((plane << 16) + 0x1234) for plane in range(17))).ljust(64, "\u6f22"),
    f"{MARK}\ud800",
    f"\udfff{MARK}\ud800\udc00",
    f"{MARK}\u202e\u200b\ufeff",
]


def test_nothing_of_a_customer_is_told_and_every_document_is_one_line(tmp_path: Path) -> None:
    orders = tmp_path / "orders.ndjson"
    lines = [
        json.dumps(
            {
                "customer_id": f"{MARK}-{number}",
                "country": "DE",
                "currency": "EUR",
                "items": [{"sku": sku, "quantity": 1, "unit_price_cents": 100}],
            }
        ).encode()
        for number, sku in enumerate(SKUS)
    ]
    # Bytes that are no UTF-8.
    lines.append(lines[0].replace(MARK.encode(), MARK.encode() + b"\xff\xc3"))
    orders.write_bytes(b"\n".join(lines) + b"\n")

    result = run("happy-path", orders_from=str(orders), rate=50, out=tmp_path / "runs")

    assert result.orders.submitted >= len(SKUS)
    documents = list(SeenRun(Path(str(result.run_dir))).documents())
    told = {text_of(one, "labels.order_id") for one in documents} - {None}
    assert len(told) >= len(SKUS)
    for document in documents:
        line = msgspec.json.encode(document)
        assert b"\n" not in line
        assert b"\x1b" not in line
        assert MARK.encode() not in line
        assert json.loads(line.decode("utf-8")) == document
        assert faults_of(document) == []
