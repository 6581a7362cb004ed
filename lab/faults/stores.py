"""Faults of PostgreSQL and Redis, as one process sees them: statement by statement, call by call.

One `StoreFaults` belongs to one process life. It goes around the ports of both stores, next to the
adapter. It also goes around the outermost handler, since a call that names no order is about the
order of the delivery at hand.

Not here: outages of a server, which all processes see at once (`nemesis.py`).
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

from lab.domain.errors import Down, Indeterminate, LabError, Transient
from lab.faults.plan.plan import FaultPlan, Firing, Site
from lab.faults.requests import App, Receive, Scope, Send, subject_of_request
from lab.ports.bus import Delivery, Handle, Settlement
from lab.ports.clock import Clock
from lab.ports.dedupe import Claim, DedupeStore, Evictable
from lab.ports.every_call import Method, PortType, around_every_call
from lab.ports.key_retry import KeyRetryStore, WaitingRow
from lab.ports.store import CustomerStore, OrderStore, OutboxRow, OutboxStore, StartStore, Unit

P = TypeVar("P")
SubjectOf = Callable[[str], str]
"""`ordinal.send` of an order id, "" of any other text."""

EXHAUSTED: Final = "pg.pool_exhausted"
DEADLOCK: Final = "pg.deadlock"
SERIALIZATION: Final = "pg.serialization"
LOST_BEFORE: Final = "pg.conn_loss_before_commit"
LOST_AFTER: Final = "pg.conn_loss_after_commit"
SLOW_STATEMENT: Final = "pg.slow"
SLOW_COMMAND: Final = "redis.slow"
EVICT: Final = "redis.evict"
EARLY_EXPIRE: Final = "redis.early_expire"

FAILURES: Final = (EXHAUSTED, DEADLOCK, SERIALIZATION, LOST_BEFORE, LOST_AFTER)
"""The ways in which a statement may fail. If several coins fire, the first of these strikes."""

_OF_POSTGRES: Final = (*FAILURES, SLOW_STATEMENT)
_OF_REDIS: Final = (SLOW_COMMAND, EVICT, EARLY_EXPIRE)
_AGAIN_US: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StruckStatement:
    """One method of a port of the order store.

    Attributes:
        changes: it changes something, so the loss of its answer matters.
        whose: gives the orders that the arguments name; without any, the order at hand is meant.
    """

    port: PortType[object]
    method: str
    changes: bool
    whose: "Whose"


Whose = Callable[[Sequence[object], SubjectOf], Sequence[str]]


def _unit(given: Sequence[object], subject_of: SubjectOf) -> Sequence[str]:
    assert isinstance(given[0], Unit)
    return (given[0].lab_subject or subject_of(given[0].order_id),)


def _id_first(given: Sequence[object], subject_of: SubjectOf) -> Sequence[str]:
    return (subject_of(str(given[0])),)


def _id_second(given: Sequence[object], subject_of: SubjectOf) -> Sequence[str]:
    return (subject_of(str(given[1])),)


def _row(given: Sequence[object], subject_of: SubjectOf) -> Sequence[str]:
    assert isinstance(given[0], WaitingRow)
    return (subject_of(given[0].key),)


def _rows(given: Sequence[object], _subject_of: SubjectOf) -> Sequence[str]:
    assert isinstance(given[0], Sequence)
    return [row.envelope.lab_subject for row in given[0] if isinstance(row, OutboxRow)]


def _unnamed(_given: Sequence[object], _subject_of: SubjectOf) -> Sequence[str]:
    return ()


def _change(port: PortType[object], method: str, whose: Whose) -> StruckStatement:
    return StruckStatement(port=port, method=method, changes=True, whose=whose)


def _look(port: PortType[object], method: str, whose: Whose) -> StruckStatement:
    return StruckStatement(port=port, method=method, changes=False, whose=whose)


STATEMENTS: Final = (
    _change(OrderStore, "commit", _unit),
    _look(OrderStore, "load", _id_first),
    _look(OrderStore, "outcome", _unnamed),
    _look(OrderStore, "http_key", _unnamed),
    _look(OrderStore, "due", _unnamed),
    _look(OrderStore, "of_customer", _unnamed),
    # A lock ends with its connection, so a lost connection leaves nothing in doubt.
    _look(OutboxStore, "own_shard", _unnamed),
    _look(OutboxStore, "unpublished", _unnamed),
    _change(OutboxStore, "mark_published", _rows),
    _change(StartStore, "begin_start", _unnamed),
    _change(StartStore, "explain_start", _unnamed),
    _change(KeyRetryStore, "arrive", _row),
    _change(KeyRetryStore, "park", _row),
    _look(KeyRetryStore, "head", _id_second),
    _change(KeyRetryStore, "reschedule", _row),
    _change(KeyRetryStore, "finish", _id_second),
    _change(KeyRetryStore, "bury", _id_second),
    _change(KeyRetryStore, "revive", _row),
    _change(KeyRetryStore, "discard", _row),
    _look(CustomerStore, "is_blocked", _unnamed),
)
"""Every statement that counts; waiting for a hint does not count."""


class StoreFaults:
    """The `pg.*` and `redis.*` faults of one process life that strike on a visit.

    Each call counts for every kind that can strike it, also if another kind does.

    Args:
        group: the process's consumer group, `api` or `relay`: the site.
        clock: of the process.
        subject_of: see `SubjectOf`.
    """

    def __init__(self, plan: FaultPlan, *, group: str, clock: Clock, subject_of: SubjectOf) -> None:
        self._clock = clock
        self._subject_of = subject_of
        self._sites = {
            kind: plan.at(kind, group)
            for kind in (*_OF_POSTGRES, *_OF_REDIS)
            if plan.wants(kind, group)
        }

    @staticmethod
    def is_wanted(plan: FaultPlan, group: str) -> bool:
        """Whether the run has faults that need this in processes of that group."""
        return any(plan.wants(kind, group) for kind in (*_OF_POSTGRES, *_OF_REDIS))

    # ---- around ports and chain

    def around(self, port: PortType[P], inner: P) -> P:
        """A port of the order store with its faults; `inner` itself if none of them is wanted."""
        statements = {each.method: each for each in STATEMENTS if each.port is port}
        if not statements or not any(kind in self._sites for kind in _OF_POSTGRES):
            return inner

        def wrap(method: str, call: Method) -> Method:
            statement = statements.get(method)
            return call if statement is None else _struck(self, statement, call)

        return around_every_call(port, inner, wrap)

    def around_dedupe(self, inner: DedupeStore) -> DedupeStore:
        """The dedupe store with its faults; `inner` itself if none of them is wanted."""
        is_struck = any(kind in self._sites for kind in _OF_REDIS)
        return _StruckDedupe(self, inner) if is_struck else inner

    def around_handle(self, handle: Handle) -> Handle:
        """The outermost link of a chain, which notes the order of the delivery."""

        async def run(delivery: Delivery) -> Settlement:
            _SUBJECT.set(delivery.subject)
            return await handle(delivery)

        return run

    def around_app(self, app: App) -> App:
        """The API's application, with a note of the order of each request."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            _SUBJECT.set(subject_of_request(scope))
            await app(scope, receive, send)

        return run

    # ---- for ports

    def site(self, kind: str) -> Site | None:
        """The counter of visits; None if the run does not want that kind here."""
        return self._sites.get(kind)

    def subjects(self, statement: StruckStatement, given: Sequence[object]) -> Sequence[str]:
        """The orders whose visit a call is."""
        named = statement.whose(given, self._subject_of)
        return [name or _SUBJECT.get() for name in named] or (_SUBJECT.get(),)

    def subject(self) -> str:
        """The order of the work at hand, "" if it is about none."""
        return _SUBJECT.get()

    async def wait(self, us: int) -> None:
        """Let time pass; zero or less still suspends once."""
        await self._clock.sleep_us(us)

    def now_us(self) -> int:
        """Monotonic time of the process."""
        return self._clock.now_us()


_SUBJECT: ContextVar[str] = ContextVar("subject", default="")
"""The order that the running task, or one that started it, handles."""


def _struck(faults: StoreFaults, statement: StruckStatement, call: Method) -> Method:
    """One statement with all faults that can strike it."""
    possible = FAILURES if statement.changes else (EXHAUSTED,)
    sites = [site for kind in possible if (site := faults.site(kind)) is not None]
    slow = faults.site(SLOW_STATEMENT)

    async def struck(*given: object, **named: object) -> object:
        subjects = faults.subjects(statement, given)
        late = None if slow is None else _first((slow,), subjects)
        failure = _first(sites, subjects)
        if late is not None:
            deadline_us = named.get("deadline_us")
            await _linger(faults, late, deadline_us if isinstance(deadline_us, int) else None)
        if failure is None:
            return await call(*given, **named)
        if failure.kind == LOST_AFTER:
            await call(*given, **named)
        else:
            await faults.wait(0)
        raise _error(failure)

    return struck


def _first(sites: Sequence[Site], subjects: Sequence[str]) -> Firing | None:
    """The recorded firing that strikes this call. Every site counts the visit of every subject."""
    struck: tuple[Site, Firing] | None = None
    for site in sites:
        for subject in subjects:
            occurrence = site.visit(subject)
            if occurrence and struck is None:
                firing = site.toss(subject, occurrence)
                struck = None if firing is None else (site, firing)
    if struck is None:
        return None
    site, firing = struck
    site.strike(firing)
    return firing


async def _linger(faults: StoreFaults, late: Firing, deadline_us: int | None) -> None:
    """The server takes its time; a caller with a deadline waits no longer than that.

    Raises:
        Transient: the deadline passed.
    """
    by_us = late.number("by")
    left_us = by_us if deadline_us is None else deadline_us - faults.now_us()
    await faults.wait(min(by_us, left_us))
    if left_us < by_us:
        raise Transient("PostgreSQL: no answer in time")


def _error(failure: Firing) -> LabError:
    """The error that the adapter raises for it."""
    match failure.kind:
        case "pg.deadlock":
            return Transient("PostgreSQL: deadlock detected")
        case "pg.serialization":
            return Transient("PostgreSQL: could not serialize access")
        case "pg.pool_exhausted":
            return Down(
                "PostgreSQL: no connection is free", dependency="postgres", after_us=_AGAIN_US
            )
        case _:
            return Indeterminate("PostgreSQL: the connection was lost at commit")


class _StruckDedupe(DedupeStore):
    """A dedupe store that is slow, forgets, or ends leases and marks before their time."""

    def __init__(self, faults: StoreFaults, inner: DedupeStore) -> None:
        self._faults = faults
        self._inner = inner
        self._slow = faults.site(SLOW_COMMAND)
        self._evict = faults.site(EVICT)
        self._early = faults.site(EARLY_EXPIRE)

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        ends_us = self._ends_us(lease_us)
        await self._befall(group, event_id)
        return await self._inner.claim(group, event_id, owner=owner, lease_us=ends_us)

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        ends_us = self._ends_us(window_us)
        await self._befall(group, event_id)
        return await self._inner.complete(
            group, event_id, owner=owner, fence=fence, window_us=ends_us
        )

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        await self._befall(group, event_id)
        return await self._inner.release(group, event_id, owner=owner, fence=fence)

    def _ends_us(self, asked_us: int) -> int:
        """The time that the lease or mark of this call really lasts."""
        firing = None if self._early is None else self._early.fires(self._faults.subject())
        return asked_us if firing is None else min(asked_us, firing.number("after"))

    async def _befall(self, group: str, event_id: str) -> None:
        """Let the faults strike that come before the command."""
        subject = self._faults.subject()
        late = None if self._slow is None else self._slow.fires(subject)
        is_evicted = self._evict is not None and self._evict.fires(subject) is not None
        if late is not None:
            await self._faults.wait(late.number("by"))
        if is_evicted:
            assert isinstance(self._inner, Evictable)
            await self._inner.evict(group, event_id)
