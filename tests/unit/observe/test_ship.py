"""Shipping against a server with a script: what is stored, put off, refused and lost on the way."""

import asyncio
from collections.abc import Coroutine, Sequence
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.observe.fields import Document
from lab.observe.ship import (
    BATCH_BYTES,
    BATCH_DOCUMENTS,
    FIRST_WAIT_US,
    TRIES_MAX,
    Shipped,
    count_stored,
    ship,
)
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer, NotSent

ADDRESS: Final = "127.0.0.1:9200"
LOGS: Final = "logs-orders.lab-default"

T = TypeVar("T")
Step = int | bytes | Exception
"""A status, a body of an answer of 200, or no answer. Of `NoAnswer` all was stored before."""


class Server(HttpSender):
    """Keeps documents by index and id, as a bulk request creates them.

    Attributes:
        steps: what goes wrong with the next bulk requests; then nothing does.
        busy: ids of documents that are put off, and how often.
        wrong: ids of documents that do not fit.
        requests: the size in bytes and the ids of each bulk request.
        waits: how long the shipper waited, in microseconds.
    """

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Any] = {}
        self.steps: list[Step] = []
        self.busy: dict[str, int] = {}
        self.wrong: set[str] = set()
        self.requests: list[tuple[int, list[str]]] = []
        self.waits: list[int] = []

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer:
        assert method == "POST"
        assert timeout_us > 0
        if path.endswith("/_refresh"):
            return HttpAnswer(200, (), b"{}")
        if path.endswith("/_count"):
            return self._count(path.split("/")[1], body)
        assert path == "/_bulk"
        assert ("content-type", "application/x-ndjson") in headers
        return self._bulk(body)

    async def sleep_us(self, us: int) -> None:
        self.waits.append(us)

    def _bulk(self, body: bytes) -> HttpAnswer:
        assert body.endswith(b"\n")
        lines = [msgspec.json.decode(line) for line in body.splitlines()]
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        self.requests.append((len(body), [document["event"]["id"] for _, document in pairs]))
        step = self.steps.pop(0) if self.steps else 200
        if isinstance(step, NotSent):
            raise step
        if isinstance(step, int) and step != 200:
            return HttpAnswer(step, (), b'{"error": "as told"}')
        items = [{"create": self._create(**head["create"], of=body)} for head, body in pairs]
        if isinstance(step, Exception):
            raise step
        return HttpAnswer(
            200, (), step if isinstance(step, bytes) else msgspec.json.encode({"items": items})
        )

    def _create(self, _index: str, _id: str, of: dict[str, Any]) -> dict[str, object]:
        name = of["event"]["id"]
        if self.busy.get(name):
            self.busy[name] -= 1
            return {"status": 429, "error": {"type": "rejected"}}
        if name in self.wrong:
            error = {"type": "mapper_parsing_exception", "reason": "[lab.lag] is no number"}
            return {"status": 400, "error": error}
        if (_index, _id) in self.stored:
            return {"status": 409, "error": {"type": "version_conflict"}}
        self.stored[_index, _id] = of
        return {"status": 201}

    def _count(self, index: str, body: bytes) -> HttpAnswer:
        run_id = msgspec.json.decode(body)["query"]["term"]["labels.run_id"]
        found = [
            of
            for (where, _), of in self.stored.items()
            if where == index and of["labels"]["run_id"] == run_id
        ]
        return HttpAnswer(200, (), msgspec.json.encode({"count": len(found)}))


def make_documents(many: int, *, first: int = 0, message: str = "") -> list[Document]:
    return [
        {
            "event": {"id": f"d{number}"},
            "data_stream": {"type": "logs", "dataset": "orders.lab", "namespace": "default"},
            "labels": {"run_id": "run-1"},
            "message": message,
        }
        for number in range(first, first + many)
    ]


def shipped_to(server: Server, documents: Sequence[Document]) -> Shipped:
    return done(ship(documents, server, address=ADDRESS, sleep_us=server.sleep_us))


def done(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_every_document_is_stored_under_the_id_that_filebeat_makes() -> None:
    server = Server()

    shipped = shipped_to(server, make_documents(3))

    assert (shipped.sent, shipped.created, shipped.existing, shipped.refused) == (3, 3, 0, 0)
    assert shipped.targets == {LOGS: 3}
    assert set(server.stored) == {
        (LOGS, sha256(f"|event.id|d{n}|".encode()).hexdigest()) for n in range(3)
    }


def test_a_batch_is_bounded_in_number() -> None:
    server = Server()

    shipped_to(server, make_documents(2 * BATCH_DOCUMENTS + 1))

    assert [len(ids) for _, ids in server.requests] == [BATCH_DOCUMENTS, BATCH_DOCUMENTS, 1]


def test_a_batch_is_bounded_in_bytes_and_a_larger_document_goes_alone() -> None:
    server = Server()
    third = "x" * (BATCH_BYTES // 3)
    large = make_documents(1, first=9, message="x" * (BATCH_BYTES + 1))

    shipped = shipped_to(server, [*make_documents(4, message=third), *large, *make_documents(1)])

    assert [ids for _, ids in server.requests] == [["d0", "d1"], ["d2", "d3"], ["d9"], ["d0"]]
    assert all(size <= BATCH_BYTES for size, ids in server.requests if ids != ["d9"])
    assert shipped.sent == 6


def test_progress_counts_what_was_dealt_with() -> None:
    seen: list[int] = []
    server = Server()

    done(
        ship(
            make_documents(BATCH_DOCUMENTS + 1),
            server,
            address=ADDRESS,
            sleep_us=server.sleep_us,
            on_progress=seen.append,
        )
    )

    assert seen == [BATCH_DOCUMENTS, BATCH_DOCUMENTS + 1]


def test_sent_twice_is_stored_once() -> None:
    server = Server()

    shipped_to(server, make_documents(5))
    again = shipped_to(server, make_documents(7))

    assert (again.sent, again.created, again.existing) == (7, 2, 5)
    assert len(server.stored) == 7


def test_documents_that_are_put_off_are_sent_again_alone_and_later() -> None:
    server = Server()
    server.busy = {"d1": 2, "d3": 1}

    shipped = shipped_to(server, make_documents(5))

    assert [ids for _, ids in server.requests[1:]] == [["d1", "d3"], ["d1"]]
    assert server.waits == [FIRST_WAIT_US, 2 * FIRST_WAIT_US]
    assert (shipped.sent, shipped.created) == (5, 5)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_whole_request_that_is_put_off_is_sent_again_later(status: int) -> None:
    server = Server()
    server.steps = [status, status]

    shipped = shipped_to(server, make_documents(3))

    assert len(server.requests) == 3
    assert server.waits == [FIRST_WAIT_US, 2 * FIRST_WAIT_US]
    assert shipped.created == 3


def test_a_connection_lost_in_the_middle_loses_and_doubles_nothing() -> None:
    server = Server()
    server.steps = [200, NoAnswer("the connection was lost"), NotSent("no connection")]

    shipped = shipped_to(server, make_documents(2 * BATCH_DOCUMENTS))

    # The second batch was stored, and nobody heard of it.
    assert (shipped.sent, shipped.created, shipped.existing) == (
        2 * BATCH_DOCUMENTS,
        BATCH_DOCUMENTS,
        BATCH_DOCUMENTS,
    )
    assert len(server.stored) == 2 * BATCH_DOCUMENTS
    assert len(server.waits) == 2


def test_a_refused_document_is_named_with_its_reason_and_the_rest_goes_on() -> None:
    server = Server()
    server.wrong = {"d1"}

    shipped = shipped_to(server, make_documents(4))

    (refusal,) = shipped.refusals
    assert (refusal.id, refusal.target) == ("d1", LOGS)
    assert "400" in refusal.reason
    assert "[lab.lag] is no number" in refusal.reason
    assert (shipped.sent, shipped.created, shipped.refused) == (4, 3, 1)
    assert len(server.requests) == 1, "what will never be taken is not sent again"


def test_of_many_refused_documents_ten_are_listed_and_all_are_counted() -> None:
    server = Server()
    server.wrong = {f"d{n}" for n in range(30)}

    shipped = shipped_to(server, make_documents(40))

    assert shipped.refused == 30
    assert [one.id for one in shipped.refusals] == [f"d{n}" for n in range(10)]


def test_a_server_that_stays_away_is_given_up_after_some_tries() -> None:
    server = Server()
    server.steps = [NotSent("no connection (ConnectError)")] * 100

    with pytest.raises(EnvironmentNotReady, match="no connection") as away:
        shipped_to(server, make_documents(1))

    assert len(server.requests) == TRIES_MAX
    assert ADDRESS in str(away.value)
    assert "LAB_ELASTICSEARCH_URL" in str(away.value)


def test_documents_that_are_put_off_for_ever_are_given_up() -> None:
    server = Server()
    server.busy = {"d0": 1_000}

    with pytest.raises(EnvironmentNotReady, match="puts 1 documents off again and again"):
        shipped_to(server, make_documents(2))

    assert len(server.requests) == TRIES_MAX


@pytest.mark.parametrize("step", [401, 404, 413, b"<html>", b'{"items": []}', b"[]"])
def test_an_answer_that_no_such_server_gives_ends_it(step: Step) -> None:
    server = Server()
    server.steps = [step]

    with pytest.raises(EnvironmentNotReady, match=r"it answers \d+ to /_bulk"):
        shipped_to(server, make_documents(2))

    assert len(server.requests) == 1


def test_only_documents_of_the_run_are_counted() -> None:
    server = Server()
    others = [{**one, "labels": {"run_id": "run-2"}} for one in make_documents(2, first=10)]
    shipped_to(server, [*make_documents(3), *others])

    many = done(
        count_stored(
            server, [LOGS, "traces-apm-default"], run_id="run-1", address=ADDRESS,
            sleep_us=server.sleep_us,
        )
    )  # fmt: skip

    assert many == 3
