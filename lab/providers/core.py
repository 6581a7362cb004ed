"""The common part of all third parties: latency, idempotency keys with a lifetime, done once.

A transport calls `arrive` when a request is handed over, lets `latency_us` pass, and calls
`execute` before the request's deadline, or else `drop`. Servers outlive every process of the lab.

Not here: timers and deadlines (the transport's), the effect of a request (one file per provider),
and calls that go wrong (`lab.faults`).

Source: Stripe API reference, Idempotent requests (mode `stripe`).
"""

import math
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from statistics import NormalDist
from typing import ClassVar, Final, Generic, TypeVar

import msgspec

from lab.domain.errors import (
    Down,
    Indeterminate,
    LabError,
    Permanent,
    Replayed,
    Throttled,
    Transient,
)
from lab.domain.order import Item
from lab.history.contents import short_digest
from lab.history.recorder import Write
from lab.ports.chance import Chance, Draw
from lab.ports.providers import GatewayAnswer, Known

SIGMA: Final = 0.5
"""Spread of latencies: the slowest in a hundred takes 3.2 times the median."""

QUANTILES: Final = 4_096
"""Latencies are drawn from so many quantiles of a lognormal distribution: cheaper than the
logarithm, and with an end: 6.2 times the median, so that nothing times out without a fault."""

CONFLICT_AFTER_US: Final = 500_000
LOCKED_OUT_AFTER_US: Final = 1_000_000
"""A provider that refuses our credentials is asked again after so long."""
DAY_US: Final = 86_400_000_000

_encode: Final = msgspec.msgpack.Encoder().encode

_VISITS_FOR_US: Final = 600_000_000

V = TypeVar("V")


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, over any transport.

    Attributes:
        subject: the order as `ordinal.send`; "" outside of a lab run.
        key: the idempotency key; "" for a request that moves nothing.
        about: the charge key of a refund, the template of a mail, the customer of a question.
        items: the goods of a question.
    """

    action: str
    order_id: str
    subject: str
    key: str = ""
    amount_cents: int = 0
    currency: str = ""
    about: str = ""
    items: tuple[Item, ...] = ()


class Refused(msgspec.Struct, frozen=True, gc=False):
    """No result: an HTTP status, 0 if there was no answer, and how long to stay away.

    `is_replayed`: it is the stored answer to an earlier request (Stripe: `Idempotent-Replayed`).
    Status 200: there is an answer, and nobody can read it; `is_move`: to a request that moves
    something.
    """

    status: int
    after_us: int = 0
    is_replayed: bool = False
    is_move: bool = False


Answer = bool | GatewayAnswer | tuple[Known, ...] | Refused
NO_ANSWER: Final = Refused(0)
CONNECTION_LOST: Final = Refused(0, 0, is_replayed=False, is_move=True)
"""No answer either, and the caller hears it at once."""
UNREADABLE: Final = 200
_FAILED_AS: Final = {0: "silent", UNREADABLE: "unreadable"}
"""Failures that are no status, as the history calls them."""


def error_of(provider: str, refused: Refused) -> LabError:
    """The error class that a status stands for; the one map for every transport."""
    status = refused.status
    if status == 0:
        return Indeterminate(f"{provider} did not answer before the deadline")
    if status == UNREADABLE:
        message = f"{provider} gave an answer that cannot be read"
        return Indeterminate(message) if refused.is_move else Transient(message)
    message = f"{provider} answered {status}"
    if status in (409, 429) or (status == 503 and refused.after_us and not refused.is_replayed):
        return Throttled(message, after_us=refused.after_us)
    if status in (401, 403):
        # A hint of hours would stop the whole group, and says nothing of our credentials.
        return Down(message, dependency=provider, after_us=LOCKED_OUT_AFTER_US)
    if 400 <= status < 500:
        return Permanent(message)
    return Replayed(message) if refused.is_replayed else Transient(message)


class KeyMode(StrEnum):
    """Which answers are remembered under their key: all that were executed, successes only, none.

    With none a provider looks at no key: a request that is sent again is done again.
    """

    STRIPE = "stripe"
    SUCCESS_ONLY = "2xx-only"
    NONE = "none"


class Remembered(Generic[V]):
    """A dict that forgets an entry between 1 and 1 1/8 lifetimes after it was set.

    Entries are kept in slices by age and a slice is dropped whole, so that forgetting costs nothing
    per entry and an entry carries no time of its own.
    """

    __slots__ = ("_lifetime_us", "_old", "_turn_us", "_young")

    def __init__(self, lifetime_us: int) -> None:
        self._lifetime_us = lifetime_us
        self._turn_us = 0
        self._young: dict[str, V] = {}
        self._old: list[tuple[int, dict[str, V]]] = []

    def get(self, key: str, now_us: int) -> V | None:
        """The entry, the youngest if it was set twice; None if there is none any more."""
        if now_us >= self._turn_us:
            self._turn(now_us)
        found = self._young.get(key)
        if found is None:
            for _, entries in self._old:
                found = entries.get(key)
                if found is not None:
                    break
        return found

    def put(self, key: str, value: V, now_us: int) -> None:
        """Set or replace an entry; its lifetime starts again."""
        if now_us >= self._turn_us:
            self._turn(now_us)
        self._young[key] = value

    def __len__(self) -> int:
        return len(self._young) + sum(len(entries) for _, entries in self._old)

    def _turn(self, now_us: int) -> None:
        """Close the young slice. All in it were set before the turn that is due now."""
        if self._young:
            until_us = self._turn_us + self._lifetime_us
            self._old.insert(0, (until_us, self._young))
            self._young = {}
        self._old = [part for part in self._old if part[0] > now_us]
        self._turn_us = now_us + max(1, self._lifetime_us // 8)


class Server:
    """One third party.

    Attributes:
        objection: the reason of its no to an order, "" if it is not asked about orders.
        objects_by: the answer that is such a no.

    Args:
        chance: of latencies and decisions.
        now_us: its clock, in microseconds.
        latency_us: median time of a request.
        write: where the ledger goes, or None.
        key_mode: which answers its keys remember.
        key_lifetime_us: how long at least they are remembered.
        refused_percent: share of the orders that it says no to, at every try.
    """

    name: ClassVar[str]
    objection: ClassVar[str] = ""
    objects_by: ClassVar[bool] = False

    def __init__(
        self,
        *,
        chance: Chance,
        now_us: Callable[[], int],
        latency_us: int,
        write: Write | None,
        key_mode: KeyMode = KeyMode.STRIPE,
        key_lifetime_us: int = DAY_US,
        refused_percent: float = 0,
    ) -> None:
        self._chance = chance
        # Of latencies, by action.
        self._draws: dict[str, Draw] = {}
        self._refused_share = refused_percent / 100
        self._now_us = now_us
        self._latencies = _quantiles(latency_us)
        self._write = write
        self._key_mode = key_mode
        self._answers: Remembered[Answer] = Remembered(key_lifetime_us)
        self._in_flight: dict[str, Request] = {}
        # Ten minutes are enough to give the retries of an order latencies of their own.
        self._visits: Remembered[int] = Remembered(_VISITS_FOR_US)

    def latency_us(self, request: Request) -> int:
        """How long this request takes; another draw for each request about an order."""
        now_us = self._now_us()
        subject = request.subject
        visit = self._visits.get(subject, now_us) or 0
        self._visits.put(subject, visit + 1, now_us)
        action = request.action
        draw = self._draws.get(action)
        if draw is None:
            draw = self._draws[action] = self._chance.under(self.name, action)
        return self._latencies[int(draw(subject, visit) * QUANTILES)]

    def arrive(self, request: Request) -> Refused | None:
        """A request with a key was handed over: 409 if another one under that key is in flight."""
        if request.key in self._in_flight and self._key_mode is not KeyMode.NONE:
            return Refused(409, CONFLICT_AFTER_US)
        self._in_flight[request.key] = request
        return None

    def execute(self, request: Request) -> Answer:
        """Do the request, or give the stored answer of its key again."""
        key, now_us = request.key, self._now_us()
        if not key:
            return self._do(request, now_us)
        self.drop(request)
        stored = self._answers.get(key, now_us)
        if stored is not None:
            return self._again(request, stored, now_us)
        answer = self._do(request, now_us)
        if self._keeps(answer):
            self._answers.put(key, answer, now_us)
        return answer

    def execute_late(self, request: Request) -> Answer:
        """Do it although its deadline has passed: a clock that is behind does not know."""
        return self.execute(request)

    def refuse(self, request: Request) -> Answer:
        """Say no for good, or give the stored answer of its key again. Nothing is done."""
        raise NotImplementedError

    def has_answer(self, request: Request) -> bool:
        """Whether its key has a stored answer."""
        return bool(request.key) and self._answers.get(request.key, self._now_us()) is not None

    def drop(self, request: Request) -> None:
        """The request is not in flight any more and was not executed."""
        if self._in_flight.get(request.key) is request:
            del self._in_flight[request.key]

    def keep_failure(self, request: Request, refused: Refused, *, instead: bool = False) -> bool:
        """The request was executed and failed: store that as its key's answer.

        Only mode `stripe` stores it; a key that has an answer keeps it, if the failure is not to
        stand `instead` of the answer that was stored just now. Says whether it did.
        """
        if not request.key or self._key_mode is not KeyMode.STRIPE:
            return False
        if self.has_answer(request) and not instead:
            return False
        self._answers.put(request.key, _replayed(refused), self._now_us())
        return True

    def told(self, request: Request, answer: Answer) -> None:
        """The caller is given this answer now: write it, if it decides or fails anything.

        What moved money or sent a mail has its line already.
        """
        if isinstance(answer, Refused):
            what = _FAILED_AS.get(answer.status) or str(answer.status)
        elif self.objection:
            what = self.objection if answer is self.objects_by else "ok"
        else:
            return
        if self._write is not None:
            self._write(
                (
                    "answered",
                    self._now_us(),
                    "ledger",
                    request.subject,
                    self.name,
                    request.action,
                    "" if request.key else request.about,
                    short_digest(_encode(request.items)) if request.items else "",
                    request.amount_cents,
                    what,
                )
            )

    def restore(self, request: Request, answer: Answer, at_us: int) -> None:
        """Know again a request that was executed or stored at `at_us`, before a restart.

        To be called in the order of the executions, before the first request. Writes nothing.
        """
        if self._keeps(answer):
            kept = _replayed(answer) if isinstance(answer, Refused) else answer
            self._answers.put(request.key, kept, at_us)

    def _keeps(self, answer: Answer) -> bool:
        """Whether the answer to an executed request is remembered under its key."""
        match self._key_mode:
            case KeyMode.STRIPE:
                return True
            case KeyMode.SUCCESS_ONLY:
                return _is_success(answer)
            case KeyMode.NONE:
                return False

    def _do(self, request: Request, now_us: int) -> Answer:
        raise NotImplementedError

    def _refuses(self, subject: str) -> bool:
        share = self._refused_share
        return share > 0 and self._chance.u(self.name, "refused", subject) < share

    def _again(self, _request: Request, stored: Answer, _now_us: int) -> Answer:
        return stored

    def _record(self, action: str, request: Request, now_us: int) -> None:
        """Write the ledger's line about the request that was just done."""
        if self._write is not None:
            self._write(
                (
                    "ledger",
                    now_us,
                    "ledger",
                    request.subject,
                    self.name,
                    action,
                    request.key,
                    request.about,
                    request.amount_cents,
                    request.currency,
                )
            )


def _is_success(answer: Answer) -> bool:
    if isinstance(answer, GatewayAnswer):
        return not answer.reason
    return not isinstance(answer, Refused)


@cache
def _quantiles(median_us: int) -> tuple[int, ...]:
    """Latencies in equal steps of probability. A function of its argument, so kept for good."""
    normal = NormalDist()
    return tuple(
        round(median_us * math.exp(SIGMA * normal.inv_cdf((n + 0.5) / QUANTILES)))
        for n in range(QUANTILES)
    )


def _replayed(refused: Refused) -> Refused:
    """The refusal as it is given again under its key."""
    return msgspec.structs.replace(refused, is_replayed=True)
