"""Retry: a failure that would have passed does not cost an order.

A third party answers 503 for a second, and every order of that second is lost; or everybody repeats
at once and for ever, and the third party never gets up again. Both happen to consumers that treat
all errors alike.

The rule: the class of an error decides (table in `lab.domain.errors`). A run whose failure may pass
is repeated in place with full jitter, then through retry topics with fixed delays, `attempts_max`
in all. Repeats in place cost tokens per dependency, which only successes give back; without a token
the event moves to the next tier, never to the dead letters. A run that is throttled or fenced, or
whose dependency is down, is no attempt; nor is a failure on the way to the handler, such as an
answer of a store that was lost: nothing was tried.

The weak part makes a dead letter of the first failure.

Source: full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter"; tokens: gRPC retry
throttling (A6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.domain.errors import (
    Down,
    Fenced,
    LabError,
    Permanent,
    Poison,
    Throttled,
    Unclassified,
)
from lab.history.pen import Pen
from lab.history.recorder import Now
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Release, Retry, Settlement
from lab.ports.parking import Parking

FAILURES_KEPT: Final = 10
UNCLASSIFIED_MAX: Final = 3
_MESSAGE_CHARACTERS: Final = 200
_THROTTLED_KEPT: Final = 4_096

Jitter = Callable[[str, int], float]
"""A number in [0, 1) that depends on (event id, attempt) and the run's seed only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When an event is tried again; lengths in microseconds.

    Attributes:
        attempts_max: in all.
        in_place: attempts before the event moves to a retry topic.
        base_us, cap_us: of the backoff in place: even in [0, min(cap, base * 2^(attempt - 1))].
        tiers_us: delays of the retry topics, the first is tier 1; the last one repeats.
        max_elapsed_us: a throttled event gives up after this, outages of a dependency left out.
        again_us: after a failure of the machinery around an event, such as a publish.
    """

    attempts_max: int
    in_place: int
    base_us: int
    cap_us: int
    tiers_us: tuple[int, ...]
    max_elapsed_us: int
    again_us: int = 1_000_000


class RetryBudget:
    """Tokens for repeats in place, one bucket per dependency, for one process.

    Args:
        tokens: a full bucket.
        refill: tokens that each success gives back to every bucket.
    """

    def __init__(self, tokens: float, refill: float) -> None:
        self._full = tokens
        self._refill = refill
        self._left: dict[str, float] = {}

    def take(self, dependency: str) -> bool:
        """Take a token; False if there is none."""
        left = self._left.get(dependency, self._full)
        if left < 1:
            return False
        self._left[dependency] = left - 1
        return True

    def give_back(self) -> None:
        """A handler succeeded."""
        if self._left:
            refill, full = self._refill, self._full
            self._left = {
                name: left + refill for name, left in self._left.items() if left + refill < full
            }


class Retrying:
    """Decides on a delivery whose handler failed. From here outward nothing is raised.

    Args:
        inner: the next link.
        policy: see `RetryPolicy`.
        budget: of this process.
        parking: where events wait between tiers.
        jitter: see `Jitter`.
        wall: wall time in microseconds, for the attempt log.
        pen: for the history; its clock says how long an event is throttled.
    """

    def __init__(
        self,
        inner: Handle,
        *,
        policy: RetryPolicy,
        budget: RetryBudget,
        parking: Parking,
        jitter: Jitter,
        wall: Now,
        pen: Pen,
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._budget = budget
        self._parking = parking
        self._jitter = jitter
        self._wall = wall
        self._process, self._now, self._write = pen.process, pen.now, pen.write
        # Since when an event is throttled; forgotten by any other ending.
        self._throttled: dict[str, int] = {}

    async def __call__(self, delivery: Delivery) -> Settlement:
        """See `Handle`."""
        try:
            settled = await self._inner(delivery)
        except LabError as error:
            return await self._failed(delivery, error)
        if self._throttled:
            self._throttled.pop(delivery.event_id, None)
        if isinstance(settled, Ack) and settled.why == "handled":
            self._budget.give_back()
            if delivery.attempt > 1:
                self._acted(delivery, "recovered")
        return settled

    async def _failed(self, delivery: Delivery, error: LabError) -> Settlement:
        match error:
            case Throttled(after_us=after_us):
                return self._wait(delivery, error, after_us)
            case Down(after_us=after_us):
                self._throttled.pop(delivery.event_id, None)
                return Release("down", after_us)
            case Fenced():
                return Release("fenced")
            case Permanent() | Poison():
                reason = "poison" if isinstance(error, Poison) else "permanent"
                return self._bury(delivery, error, reason)
            case _ if not delivery.has_run:
                # With one attempt left it would be dead, and nobody would have tried.
                return give_back(error, self._policy.again_us)
            case _:
                return await self._again(delivery, error)

    def _wait(self, delivery: Delivery, error: LabError, after_us: int) -> Settlement:
        throttled, now_us = self._throttled, self._now()
        since_us = throttled.setdefault(delivery.event_id, now_us)
        if len(throttled) > _THROTTLED_KEPT:
            del throttled[next(iter(throttled))]
        if now_us - since_us >= self._policy.max_elapsed_us:
            return self._bury(delivery, error, "exhausted")
        self._retrying(delivery, error, "throttled", after_us)
        return Retry(after_us, counts=False)

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        policy, attempt = self._policy, delivery.attempt
        self._throttled.pop(delivery.event_id, None)
        attempts_max = policy.attempts_max
        if isinstance(error, Unclassified):
            attempts_max = min(attempts_max, UNCLASSIFIED_MAX)
        if attempt >= attempts_max:
            return self._bury(delivery, error, "exhausted")
        self._log(delivery, error)
        if attempt < policy.in_place and self._budget.take(error.dependency):
            return self._in_place(delivery, error)
        tier = min(max(attempt - policy.in_place + 1, 1), len(policy.tiers_us))
        delay_us = policy.tiers_us[tier - 1]
        self._retrying(delivery, error, f"tier.{tier}", delay_us)
        try:
            return await self._parking.park(delivery, tier=tier, delay_us=delay_us)
        except LabError:
            # Not parked, or nobody knows: then here, or the half-done parking is completed. It was
            # an attempt whatever became of the parking, so it is not given back, which counts none.
            self._retrying(delivery, error, "unparked", policy.cap_us)
            return Retry(policy.cap_us)

    def _in_place(self, delivery: Delivery, error: LabError) -> Settlement:
        policy, attempt = self._policy, delivery.attempt
        most_us = min(policy.cap_us, policy.base_us << min(attempt - 1, 40))
        delay_us = int(self._jitter(delivery.event_id, attempt) * most_us)
        self._retrying(delivery, error, "in_place", delay_us)
        return Retry(delay_us)

    def _bury(self, delivery: Delivery, error: LabError, reason: str) -> Settlement:
        self._throttled.pop(delivery.event_id, None)
        self._log(delivery, error)
        return DeadLetter(reason, name_of(error), _short(error))

    def _log(self, delivery: Delivery, error: LabError) -> None:
        wall_us = self._wall()
        if not delivery.first_failure_us:
            delivery.first_failure_us = wall_us
        failure = (wall_us, name_of(error), _short(error))
        delivery.failures = (*delivery.failures[1 - FAILURES_KEPT :], failure)

    def _retrying(self, delivery: Delivery, error: LabError, where: str, delay_us: int) -> None:
        if self._write is not None:
            self._write(
                (
                    "retrying",
                    self._now(),
                    self._process,
                    delivery.subject,
                    delivery.group,
                    delivery.event_id,
                    delivery.attempt,
                    type(error).__name__,
                    where,
                    delay_us,
                )
            )
            if where not in ("throttled", "unparked"):
                self._acted(delivery, "retried")

    def _acted(self, delivery: Delivery, what: str) -> None:
        if self._write is not None:
            self._write(("acted", self._now(), self._process, delivery.subject, "retry", what))


class NoRetry(Retrying):
    """The weak part: a dead letter at the first failure. A run that is no attempt is none here."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        return self._bury(delivery, error, "exhausted")


def give_back(error: LabError, again_us: int) -> Settlement:
    """The settlement of a delivery around which the machinery failed: no attempt, nothing lost."""
    match error:
        case Down(after_us=after_us):
            return Release("down", after_us)
        case Throttled(after_us=after_us):
            return Retry(after_us, counts=False)
        case Fenced():
            return Release("fenced")
        case _:
            return Retry(again_us, counts=False)


def name_of(error: LabError) -> str:
    """The name under which an error is logged: of an unclassified one, its own class."""
    return error.kind if isinstance(error, Unclassified) else type(error).__name__


def _short(error: LabError) -> str:
    return str(error)[:_MESSAGE_CHARACTERS]
