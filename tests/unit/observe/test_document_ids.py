"""A document has one id, whoever ships it: Filebeat by its configuration, or the lab itself."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from lab.observe.fields import Document
from lab.observe.ship import document_id, ship
from lab.ports.http import HttpAnswer

FILEBEAT = Path(__file__).resolve().parents[3] / "elk" / "filebeat.yml"
MADE_BY_FILEBEAT = {
    "run-1/logs/7": "2d0f8368d90b3127d37d6cc9a29eef43644618ffea1d269bbb501d0a22267060",
    "00ff00ff00ff00ff": "abeb1e34831b2f849163674458811f06a7d567177ca1bdea8cabfa601d0341c2",
}
"""Ids that a real Filebeat has given, by `event.id`."""


class Server:
    """Takes everything, and keeps it."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        assert (method, path) == ("POST", "/_bulk")
        assert dict(headers)["content-type"] == "application/x-ndjson"
        assert timeout_us > 0
        items = []
        lines = body.splitlines()
        for head, document in zip(lines[::2], lines[1::2], strict=True):
            identity = json.loads(head)["create"]["_id"]
            status = 409 if identity in self.stored else 201
            self.stored.setdefault(identity, json.loads(document))
            items.append({"create": {"status": status}})
        return HttpAnswer(200, (), json.dumps({"items": items}).encode())


async def no_sleep(_: int) -> None:
    raise AssertionError("nothing is to be waited for")


def document(event_id: str) -> Document:
    return {
        "data_stream": {"type": "logs", "dataset": "orders.lab", "namespace": "default"},
        "event": {"id": event_id},
    }


def test_a_document_is_shipped_under_the_id_that_filebeat_gives_it() -> None:
    server = Server()
    documents = [document(event_id) for event_id in MADE_BY_FILEBEAT]

    shipped = asyncio.run(ship(documents, server, address="here", sleep_us=no_sleep))

    assert shipped.created == len(documents)
    assert {one["event"]["id"]: name for name, one in server.stored.items()} == MADE_BY_FILEBEAT


def test_what_filebeat_has_shipped_is_there_already() -> None:
    server = Server()
    server.stored[MADE_BY_FILEBEAT["run-1/logs/7"]] = document("run-1/logs/7")

    shipped = asyncio.run(
        ship([document("run-1/logs/7")], server, address="here", sleep_us=no_sleep)
    )

    assert (shipped.created, shipped.existing) == (0, 1)


def test_different_events_have_different_ids() -> None:
    assert len({document_id(f"{number}") for number in range(100)}) == 100


def test_filebeat_makes_an_id_of_the_event_id_alone_and_by_its_usual_method() -> None:
    text = FILEBEAT.read_text("utf-8")
    after = text[text.index("has_fields: [event.id]") :]
    block = re.search(r"- fingerprint:\n((?: {14}\S.*\n)+)", after)

    assert block is not None
    assert [line.strip() for line in block[1].splitlines()] == [
        "fields: [event.id]",
        'target_field: "@metadata._id"',
    ]
