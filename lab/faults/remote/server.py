"""The supervisor's side of `plan.py`: answers the questions of its processes from the one plan.

Each question is answered in the step in which it comes in: two processes that visit a site at once
are counted one after the other.

Not here: the plan itself (`lab.faults.plan`), its begin and its end (`nemesis.py`).
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lab.faults.plan.plan import FaultPlan, Firing, Site
from lab.faults.remote.plan import TCP, UNIX, Answer, Question, SiteInfo
from lab.faults.table.kinds import KINDS

_PATH_MAX: Final = 100
"""Addresses of Unix sockets are short: 108 bytes on Linux, 104 elsewhere."""

_decode: Final = msgspec.json.Decoder(Question).decode
_encode: Final = msgspec.json.Encoder().encode


class PlanServer:
    """Answers on a Unix socket, or on a loopback port where a system has no such sockets.

    Args:
        plan: the plan of the run.
        on_pause: `on_pause(member, for_us)` stops the process that asks, and wakes it.
    """

    def __init__(
        self, plan: FaultPlan, *, on_pause: Callable[[str, int], object] = lambda _who, _us: None
    ) -> None:
        self._plan = plan
        self._on_pause = on_pause
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.BaseTransport] = set()
        self.address = ""

    async def start(self, path: Path) -> str:
        """Listen; returns the address that processes are given.

        Args:
            path: of the socket, in a folder to which no other user can write.

        Raises:
            OSError: neither socket can be made.
        """
        loop = asyncio.get_running_loop()
        if hasattr(socket, "AF_UNIX") and len(str(path).encode()) <= _PATH_MAX:
            self._server = await loop.create_unix_server(self._link, str(path))
            self.address = f"{UNIX}{path}"
        else:
            self._server = await loop.create_server(self._link, "127.0.0.1", 0)
            port = self._server.sockets[0].getsockname()[1]
            self.address = f"{TCP}127.0.0.1:{port}"
        return self.address

    def close(self) -> None:
        """Answer no more questions: in the processes no fault fires from then on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in self._links:
            link.close()
        self._links.clear()

    def answer(self, question: Question) -> Answer:
        """The answer of the plan."""
        number, firing = 0, None
        plan = self._plan
        sites = [plan.at(kind, name) for kind, name in question.sites]
        match question.what:
            case "fires" | "tosses" | "marks":
                firing = _visit(sites[0], question.what, question.subjects[0])
            case "fires_once":
                firing = sites[0].fires_once(question.subjects)
            case "first":
                firing = plan.first(sites, question.subjects[0])
            case "visit":
                number = sites[0].visit(question.subjects[0])
            case "toss":
                firing = sites[0].toss(question.subjects[0], question.occurrence)
            case "strike":
                assert question.firing is not None
                plan.record(question.firing)
            case "pause":
                self._on_pause(question.subjects[0], question.occurrence)
            case "is_active":
                number = int(plan.is_active)
            case "sites":
                return Answer(plan.is_healed, sites=_infos(plan))
            case _:
                raise AssertionError(question)
        return Answer(plan.is_healed, number, firing)

    def _link(self) -> asyncio.Protocol:
        return _Link(self.answer, self._links)


class _Link(asyncio.Protocol):
    """The connection of one process."""

    def __init__(
        self, answer: Callable[[Question], Answer], links: set[asyncio.BaseTransport]
    ) -> None:
        self._answer = answer
        self._links = links
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "streams are written to"
        self._transport = transport
        self._links.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._transport is not None:
            self._links.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        assert self._transport is not None
        for line in lines:
            self._transport.write(_encode(self._answer(_decode(line))) + b"\n")


def _visit(site: Site, what: str, subject: str) -> Firing | None:
    """One of the questions about one subject at one site, by the name of the method."""
    if what == "fires":
        return site.fires(subject)
    return site.tosses(subject) if what == "tosses" else site.marks(subject)


def _infos(plan: FaultPlan) -> tuple[SiteInfo, ...]:
    """Every site at which a fault of the plan can fire on a visit."""
    return tuple(_info(plan.at(kind, name)) for kind in KINDS for name in plan.sites(kind))


def _info(site: Site) -> SiteInfo:
    planned = site.planned
    if planned is not None:
        return SiteInfo(site.kind, site.name, None, planned)
    chosen = [spec.subjects for spec in site.asked]
    if None in chosen:
        return SiteInfo(site.kind, site.name, None, None)
    orders = tuple((each.low, each.high, each.every) for each in chosen if each is not None)
    return SiteInfo(site.kind, site.name, orders, None)
