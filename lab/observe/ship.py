"""Ships documents to Elasticsearch or OpenSearch: in bounded batches, each document once.

A document's id is a function of what it says, and it is only ever created: shipped twice it is
stored once, by Filebeat too, which makes the same ids. A batch without an answer is sent again; a
document that is refused is named, and the rest goes on. Not here: which documents there are (`apm`,
`ecs_line`), and other ways out (`otlp`).

Source: Elasticsearch, bulk API: `create` in data streams, a status for each item.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from lab.domain.errors import EnvironmentNotReady
from lab.observe.fields import Document
from lab.ports.http import HttpAnswer, HttpSender, NoAnswer, NotSent

BATCH_DOCUMENTS: Final = 2_000
BATCH_BYTES: Final = 8 << 20
BULK: Final = "/_bulk"
TRIES_MAX: Final = 6
FIRST_WAIT_US: Final = 250_000
TIMEOUT_US: Final = 60_000_000
REFUSED_LISTED: Final = 10

_CREATED: Final = 201
_EXISTS: Final = 409
_BUSY: Final = frozenset({429, 502, 503, 504})
_JSON: Final = (("content-type", "application/json"),)
_NDJSON: Final = (("content-type", "application/x-ndjson"),)

_encode: Final = msgspec.json.Encoder().encode

Sleep = Callable[[int], Awaitable[object]]
"""Waits so many microseconds."""


class RefusedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document (`event.id`) that the server will never take, and why."""

    id: str
    target: str
    reason: str


class Shipped(msgspec.Struct, kw_only=True):
    """What became of the documents.

    Attributes:
        sent: different documents that were offered.
        created: of these, stored now.
        existing: stored before already.
        refused: never stored; the first ten are listed in `refusals`.
        targets: how many were offered to each data stream.
    """

    sent: int = 0
    created: int = 0
    existing: int = 0
    refused: int = 0
    refusals: list[RefusedDocument] = msgspec.field(default_factory=list)
    targets: dict[str, int] = msgspec.field(default_factory=dict)


class _Item(msgspec.Struct, frozen=True, gc=False):
    """One document on its way: its two lines of the bulk request."""

    event_id: str
    target: str
    lines: bytes


class _ItemAnswer(msgspec.Struct):
    status: int
    error: object = None


class _BulkAnswer(msgspec.Struct):
    items: list[dict[str, _ItemAnswer]]


_decode: Final = msgspec.json.Decoder(_BulkAnswer).decode


async def ship(
    documents: Iterable[Document],
    sender: HttpSender,
    *,
    address: str,
    sleep_us: Sleep,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Shipped:
    """Offer every document, whatever becomes of single ones.

    Args:
        documents: each names its data stream (`data_stream.*`) and its id (`event.id`).
        sender: to the server.
        address: of the server, for what is said of it.
        sleep_us: see `Sleep`.
        on_progress: is called with how many were dealt with so far.

    Raises:
        EnvironmentNotReady: the server is away, or is none of this kind.
    """
    shipped = Shipped()
    for batch in _batches(documents):
        await _ship_batch(batch, sender, address, sleep_us, shipped)
        on_progress(shipped.sent)
    return shipped


async def count_stored(
    sender: HttpSender,
    targets: Iterable[str],
    *,
    run_id: str,
    address: str,
    sleep_us: Sleep,
) -> int:
    """How many documents of a run the data streams hold.

    Raises:
        EnvironmentNotReady: see `ship`.
    """
    query = _encode({"query": {"term": {"labels.run_id": run_id}}})
    total = 0
    for target in sorted(targets):
        await _ask(sender, f"/{target}/_refresh", _JSON, b"", address, sleep_us)
        path = f"/{target}/_count"
        answer = await _ask(sender, path, _JSON, query, address, sleep_us)
        try:
            total += msgspec.json.decode(answer.body, type=_Count).count
        except msgspec.DecodeError:
            raise _strange(answer, path, address) from None
    return total


class _Count(msgspec.Struct):
    count: int


async def _ask(
    sender: HttpSender,
    path: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    address: str,
    sleep_us: Sleep,
) -> HttpAnswer:
    """The answer of a server that is not busy; what got no answer is asked again."""
    wait_us, why = FIRST_WAIT_US, ""
    for number in range(TRIES_MAX):
        if number:
            await sleep_us(wait_us)
            wait_us *= 2
        try:
            answer = await sender.send(
                "POST", path, headers=headers, body=body, timeout_us=TIMEOUT_US
            )
        except (NotSent, NoAnswer) as lost:
            why = str(lost)
            continue
        if answer.status not in _BUSY:
            return answer
        why = f"it answers {answer.status}: {start_of(answer.body)}"
    raise away(address, f"{why} ({TRIES_MAX} tries)")


async def _ship_batch(
    batch: "list[_Item]", sender: HttpSender, address: str, sleep_us: Sleep, shipped: Shipped
) -> None:
    for item in batch:
        shipped.targets[item.target] = shipped.targets.get(item.target, 0) + 1
    shipped.sent += len(batch)
    left, wait_us = batch, FIRST_WAIT_US
    for number in range(TRIES_MAX):
        if number:
            await sleep_us(wait_us)
            wait_us *= 2
        body = b"".join([item.lines for item in left])
        answer = await _ask(sender, BULK, _NDJSON, body, address, sleep_us)
        left = _settle(left, answer, address, shipped)
        if not left:
            return
    what = f"it puts {len(left):,} documents off again and again ({TRIES_MAX} tries)"
    raise away(address, what)


def _settle(
    items: "list[_Item]", answer: HttpAnswer, address: str, shipped: Shipped
) -> "list[_Item]":
    """Count what was decided; returns what is to be offered again."""
    try:
        answers = _decode(answer.body).items if answer.status < 300 else None
    except msgspec.DecodeError:
        answers = None
    if answers is None or len(answers) != len(items):
        raise _strange(answer, BULK, address)
    again = []
    for item, by_action in zip(items, answers, strict=True):
        (found,) = by_action.values()
        if found.status == _CREATED:
            shipped.created += 1
        elif found.status == _EXISTS:
            shipped.existing += 1
        elif found.status in _BUSY:
            again.append(item)
        else:
            shipped.refused += 1
            if len(shipped.refusals) < REFUSED_LISTED:
                reason = f"{found.status}: {start_of(_encode(found.error))}"
                shipped.refusals.append(
                    RefusedDocument(id=item.event_id, target=item.target, reason=reason)
                )
    return again


def _batches(documents: Iterable[Document]) -> "Iterator[list[_Item]]":
    """The documents in their order, in parts that a server takes at once."""
    batch: list[_Item] = []
    size = 0
    for document in documents:
        item = _item(document)
        if batch and (len(batch) >= BATCH_DOCUMENTS or size + len(item.lines) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.lines)
    if batch:
        yield batch


def _item(document: Document) -> _Item:
    stream, event = document["data_stream"], document["event"]
    assert isinstance(stream, dict)
    assert isinstance(event, dict)
    target = f"{stream['type']}-{stream['dataset']}-{stream['namespace']}"
    identity = document_id(str(event["id"]))
    head = _encode({"create": {"_index": target, "_id": identity}})
    return _Item(str(event["id"]), target, head + b"\n" + _encode(document) + b"\n")


def document_id(event_id: str) -> str:
    """The id under which a server keeps a document: Filebeat's fingerprint of `event.id`."""
    return sha256(f"|event.id|{event_id}|".encode()).hexdigest()


def start_of(body: bytes) -> str:
    """The beginning of an answer, on one line."""
    return " ".join(body[:300].decode("utf-8", "replace").split())


def _strange(answer: HttpAnswer, path: str, address: str) -> EnvironmentNotReady:
    return away(address, f"it answers {answer.status} to {path}: {start_of(answer.body)}")


def away(address: str, what: str) -> EnvironmentNotReady:
    """The error of a server that is not there, or is none of this kind."""
    return EnvironmentNotReady(
        what,
        server="Elasticsearch",
        address=address,
        remedy='start one with "lab up --elk", or set LAB_ELASTICSEARCH_URL',
    )
