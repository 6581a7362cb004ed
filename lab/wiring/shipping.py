"""Takes what can be seen of a kept run to where people look at it.

Elasticsearch (or OpenSearch), any OpenTelemetry backend, or a folder. Not here: documents
(`lab.observe`), the command (`lab.cli.ship`).
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import msgspec

from lab.domain.errors import EnvironmentNotReady
from lab.observe.fields import Document
from lab.observe.model import Span
from lab.observe.ship import Shipped, count_stored, ship
from lab.observe.templates import TemplateState, load_templates, need_templates, read_templates
from lab.resources import resource_path
from lab.runtime.clock import SystemClock
from lab.runtime.http_caller import http_caller
from lab.wiring.kibana_links import KibanaLinks
from lab.wiring.seen_run import SeenRun

ELASTICSEARCH: Final = "http://127.0.0.1:9200"
OTLP: Final = "http://127.0.0.1:4318"
BESIDE_TEMPLATES: Final = "elk/setup"
FILES: Final = {"traces": "spans.ndjson", "logs": "logs.ndjson"}

OnProgress = Callable[[int], object]


class ShipReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a shipment, as `lab ship --json` prints it.

    Attributes:
        run: its name.
        to: the address, or the folder.
        sent: documents, spans or lines.
        stored: of this run, what the server holds now; null where nobody can ask.
        missing: sent and not stored.
        documents: what the server said of them; null where it says nothing.
        files: lines by file, of a folder.
        is_whole: the history has every order; else only some were kept.
        templates: what became of each, if they were loaded first; else null.
        links: where to look, if LAB_KIBANA_URL says where Kibana is; else null.
    """

    run: str
    to: str
    sent: int
    stored: int | None = None
    missing: int = 0
    documents: Shipped | None = None
    files: dict[str, int] | None = None
    is_whole: bool = True
    templates: Sequence[TemplateState] | None = None
    links: KibanaLinks | None = None


class TemplatesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the templates, as `lab ship --templates --json` prints it."""

    to: str
    templates: Sequence[TemplateState]


def load_templates_at(url: str) -> Sequence[TemplateState]:
    """Put the lab's templates into a server.

    Raises:
        EnvironmentNotReady: it is away.
    """
    return asyncio.run(_load_templates(url, address_of(url)))


async def _load_templates(url: str, address: str) -> Sequence[TemplateState]:
    templates = read_templates(resource_path(BESIDE_TEMPLATES).parent / "server")
    async with http_caller(url, connections_max=1) as caller:
        return await load_templates(templates, caller, address=address)


def to_elasticsearch(run: SeenRun, url: str, on_progress: OnProgress) -> ShipReport:
    """Ship a run, then count what the server holds of it.

    Raises:
        EnvironmentNotReady: the server is away.
    """
    shipped, stored, address = asyncio.run(_to_elasticsearch(run, url, on_progress))
    return ShipReport(
        run=run.run_id,
        to=address,
        sent=shipped.sent,
        stored=stored,
        missing=max(shipped.sent - stored, 0),
        documents=shipped,
        is_whole=run.is_whole,
    )


async def _to_elasticsearch(
    run: SeenRun, url: str, on_progress: OnProgress
) -> tuple[Shipped, int, str]:
    address = address_of(url)
    sleep_us = SystemClock().sleep_us
    async with http_caller(url, connections_max=1) as caller:
        await need_templates(caller, address=address)
        shipped = await ship(
            run.documents(),
            caller,
            address=address,
            sleep_us=sleep_us,
            on_progress=on_progress,
        )
        stored = await count_stored(
            caller, shipped.targets, run_id=run.run_id, address=address, sleep_us=sleep_us
        )
    return shipped, stored, address


def address_of(url: str) -> str:
    """Host and port, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def to_otlp(run: SeenRun, endpoint: str, on_progress: OnProgress) -> ShipReport:
    """Send the spans of a run.

    Raises:
        EnvironmentNotReady: the extra is not installed, or the backend is away.
    """
    try:
        from lab.observe.otlp import export  # noqa: PLC0415 - an extra, and dear
    except ModuleNotFoundError as missing:
        raise EnvironmentNotReady(
            f"the Python package {missing.name} is not installed",
            server="OpenTelemetry",
            address="",
            remedy="pip install 'pulse-lab[otlp]'",
        ) from None
    spans: list[Span] = []
    run.view(lambda seen: spans.append(seen) if isinstance(seen, Span) else None)
    sent = export(spans, run.origin, endpoint=endpoint, on_progress=on_progress)
    return ShipReport(run=run.run_id, to=endpoint, sent=sent, is_whole=run.is_whole)


def to_folder(run: SeenRun, folder: Path, on_progress: OnProgress) -> ShipReport:
    """Write `spans.ndjson` and `logs.ndjson`.

    Files of an earlier time are replaced in one step each.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(FILES.values(), 0)
    aside = {name: folder / f".{name}.part" for name in counts}
    encode = msgspec.json.Encoder().encode
    try:
        files: dict[str, IO[bytes]] = {name: path.open("wb") for name, path in aside.items()}
        for number, (name, document) in enumerate(_by_file(run), start=1):
            files[name].write(encode(document) + b"\n")
            counts[name] += 1
            if not number % 1_000:
                on_progress(number)
        for name, file in files.items():
            file.close()
            aside[name].replace(folder / name)
    finally:
        for path in aside.values():
            path.unlink(missing_ok=True)
    return ShipReport(
        run=run.run_id,
        to=str(folder),
        sent=sum(counts.values()),
        files=counts,
        is_whole=run.is_whole,
    )


def _by_file(run: SeenRun) -> Iterator[tuple[str, Document]]:
    for document in run.documents():
        stream = document["data_stream"]
        assert isinstance(stream, dict)
        is_span = stream["dataset"] == "apm"
        yield FILES["traces" if is_span else "logs"], document
