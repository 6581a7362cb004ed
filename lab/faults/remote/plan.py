"""The fault plan as a process of a real run sees it: each question goes to the supervisor.

The supervisor has the plan and its counters, so a kill takes none of them along, and a firing is
recorded before it takes effect. A question blocks the process for one round trip over a socket of
this machine. A subject for which no fault was asked causes no question.

Not here: the answers (`server.py`), and the address of the socket (wiring).
"""

import socket
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from lab.faults.plan.plan import FaultPlan, Firing, Site, intent_of
from lab.faults.table.spec import Subjects, ordinal_of
from lab.ports.chance import Chance

WAIT_US: Final = 10_000_000
"""A supervisor that does not answer for so long is gone: no fault fires any more.

The end of a supervisor is known at once; on a busy machine a living one may be late.
"""

UNIX: Final = "unix:"
TCP: Final = "tcp:"
_CHUNK: Final = 65_536

T = TypeVar("T")


class Question(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True, gc=False):
    """One question.

    Attributes:
        what: a method of `Site` or `FaultPlan`, `is_active`, `sites`, or `pause`.
        sites: (kind, site) of each site that is visited.
        subjects: of the visits.
        occurrence: for `toss`; of `pause` the microseconds.
        firing: for `strike`.
    """

    what: str
    sites: tuple[tuple[str, str], ...] = ()
    subjects: tuple[str, ...] = ()
    occurrence: int = 0
    firing: Firing | None = None


class SiteInfo(msgspec.Struct, array_like=True, frozen=True):
    """A site at which a fault can fire on a visit, and the orders that it can hit.

    Attributes:
        chosen: the orders that each rule chooses, as (low, high, every); None: all.
        planned: the orders that an explicit plan hits; None without such a plan.
    """

    kind: str
    name: str
    chosen: tuple[tuple[int, int, int], ...] | None
    planned: tuple[str, ...] | None


class Answer(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True, gc=False):
    """One answer; `is_over` if the plan is healed, so no fault will fire again."""

    is_over: bool
    number: int = 0
    firing: Firing | None = None
    sites: tuple[SiteInfo, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Answer).decode


class RemotePlan(FaultPlan):
    """The supervisor's plan. `chance` and `seed` are those of the run.

    Once the supervisor does not answer in time, or has gone away, no fault fires any more: the run
    ends then, and the process must be able to end too.

    Args:
        address: as `PlanServer.address` has it.
        seed, chance: see `FaultPlan`.
        wait_us: longest wait for one answer.
    """

    def __init__(self, address: str, *, seed: int, chance: Chance, wait_us: int = WAIT_US) -> None:
        super().__init__(seed=seed, chance=chance, now_us=_no_clock)
        self._buffer = b""
        self._socket: socket.socket | None = None
        self._is_over = False
        try:
            self._socket = _connect(address, wait_us)
        except OSError:
            self._is_over = True
        answer = self.ask(Question("sites"))
        self._infos = {(info.kind, info.name): info for info in answer.sites}
        self._known: dict[tuple[str, str], RemoteSite] = {}

    @property
    def is_connected(self) -> bool:
        """Whether the supervisor answered the last question."""
        return self._socket is not None

    def close(self) -> None:
        """Ask nothing more."""
        self._is_over = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ---- as injectors use it

    def sites(self, kind: str) -> tuple[str, ...]:
        return tuple(name for of, name in self._infos if of == kind)

    def at(self, kind: str, site: str) -> Site:
        found = self._known.get((kind, site))
        if found is None:
            info = self._infos.get((kind, site))
            found = self._known[kind, site] = RemoteSite(self, kind, site, info)
        return found

    def first(self, sites: Sequence[Site], subject: str) -> Firing | None:
        asked = tuple((site.kind, site.name) for site in sites if _may_hit(site, subject))
        if not asked or self._is_over:
            return None
        return self.ask(Question("first", asked, (subject,))).firing

    def record(self, firing: Firing) -> None:
        self.ask(Question("strike", firing=firing))

    def pause(self, member: str, for_us: int) -> None:
        """Have this process, which is `member`, stopped for `for_us`."""
        self.ask(Question("pause", subjects=(member,), occurrence=for_us))

    # ---- for sites

    @property
    def is_over(self) -> bool:
        """Whether no fault will fire any more, as far as this process has heard."""
        return self._is_over

    def ask(self, question: Question) -> Answer:
        """The supervisor's answer; an empty one if there is no supervisor any more."""
        link = self._socket
        if link is None:
            return _NO_ANSWER
        try:
            link.sendall(_encode(question) + b"\n")
            line = self._line(link)
        except OSError:
            # A late answer would be taken for that of the next question.
            self.close()
            return _NO_ANSWER
        answer = _decode(line)
        self._is_over = answer.is_over
        return answer

    def _line(self, link: socket.socket) -> bytes:
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                return line
            more = link.recv(_CHUNK)
            if not more:
                raise ConnectionResetError("the supervisor has closed the connection")
            self._buffer += more


class RemoteSite(Site):
    """A site of the supervisor's plan."""

    __slots__ = ("_all", "_chosen", "_hit", "_key", "_remote")

    def __init__(self, plan: RemotePlan, kind: str, name: str, info: SiteInfo | None) -> None:
        super().__init__(plan, kind, name, (), None)
        self._remote = plan
        self._key = ((kind, name),)
        self._all = info is not None and info.chosen is None and info.planned is None
        self._chosen = [
            Subjects(low=a, high=b, every=n) for a, b, n in (info and info.chosen) or ()
        ]
        self._hit = frozenset((info and info.planned) or ())

    @property
    def is_active(self) -> bool:
        if self._remote.is_over:
            return False
        return bool(self._remote.ask(Question("is_active")).number)

    def may_hit(self, subject: str) -> bool:
        """Whether a fault can fire here for this subject at any visit."""
        if self._all:
            return True
        if self._hit:
            return intent_of(subject) in self._hit
        ordinal = ordinal_of(subject)
        return any(chosen.chooses(ordinal) for chosen in self._chosen)

    def fires(self, subject: str) -> Firing | None:
        return self._ask("fires", subject)

    def fires_once(self, subjects: Sequence[str]) -> Firing | None:
        asked = tuple(filter(self.may_hit, subjects))
        if not asked or self._remote.is_over:
            return None
        return self._remote.ask(Question("fires_once", self._key, asked)).firing

    def tosses(self, subject: str) -> Firing | None:
        return self._ask("tosses", subject)

    def marks(self, subject: str) -> Firing | None:
        # Asked after heal too: a subject that is marked stays marked.
        if not self.may_hit(subject):
            return None
        return self._remote.ask(Question("marks", self._key, (subject,))).firing

    def visit(self, subject: str) -> int:
        # An order that no fault can hit needs no number.
        if self._remote.is_over or not self.may_hit(subject):
            return 0
        return self._remote.ask(Question("visit", self._key, (subject,))).number

    def toss(self, subject: str, occurrence: int) -> Firing | None:
        if not self.may_hit(subject):
            return None
        return self._remote.ask(Question("toss", self._key, (subject,), occurrence)).firing

    def _ask(self, what: str, subject: str) -> Firing | None:
        if self._remote.is_over or not self.may_hit(subject):
            return None
        return self._remote.ask(Question(what, self._key, (subject,))).firing


_NO_ANSWER: Final = Answer(is_over=True)


def _connect(address: str, wait_us: int) -> socket.socket:
    if address.startswith(UNIX):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where: Any = address.removeprefix(UNIX)
    else:
        link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, _, port = address.removeprefix(TCP).rpartition(":")
        where = (host, int(port))
    link.settimeout(wait_us / 1e6)
    try:
        link.connect(where)
    except OSError:
        link.close()
        raise
    return link


def _may_hit(site: Site, subject: str) -> bool:
    return isinstance(site, RemoteSite) and site.may_hit(subject)


def _no_clock() -> int:
    """Only the supervisor's plan has windows to look at."""
    return 0
