"""Bugs about what counts as an attempt, when the next one is due, and what it may cost.

Not here: delays that are not kept, and breakers that do not break (`retries`).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from lab.domain.errors import Down, LabError, Transient
from lab.domain.events import Payload
from lab.patterns.breaker import Breaker
from lab.patterns.provider_key import KeyPerIntent
from lab.patterns.retry import RetryBudget, Retrying
from lab.ports.bus import Delivery, Retry, Settlement
from lab.ports.key_retry import WaitingRow
from lab.ports.service import Context
from lab.services.notification import Notification
from lab.stores.memory.key_retry import KeyRetryTable
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()
P = ParamSpec("P")
T = TypeVar("T")

RETRY: Final = "lab.wiring.policy.Switches.retry.strong"
BREAKER: Final = "lab.wiring.policy.Switches.breaker.strong"

ERRORS: Final = Setup(scenario="timeouts", orders=150)
SENT_BACK: Final = Setup(
    faults=("svc.error@mailer#every20 first=3", "svc.error@mailer#every20 nth=4 status=400"),
    settings=(("operator.redrives", 1),),
)
HUNG: Final = Setup(scenario="hung-after-charge", orders=60)
FLAPPING: Final = Setup(scenario="flapping-gateway", orders=150)
QUIET_HOUR: Final = Setup(
    orders=40, rate=0.05, faults=("svc.error@payment_gateway#every5 first=1",)
)
MANY_ERRORS: Final = Setup(orders=150, faults=("svc.error@mailer rate=0.35",))
REFUSED: Final = Setup(faults=("svc.error@mailer rate=0.6 status=429 after=1s",))


@BUGS.plant("retry-law", RETRY, setup=ERRORS, witness="moved to tier.2 instead of tier.1")
class TierOffByOne(Retrying):
    """The first retry topic is passed over: tiers are counted from the wrong attempt."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        if delivery.attempt < self._policy.in_place:
            return await super()._again(delivery, error)
        delay_us = self._policy.tiers_us[1]
        self._retrying(delivery, error, "tier.2", delay_us)
        return await self._parking.park(delivery, tier=2, delay_us=delay_us)


@BUGS.plant("retry-law", RETRY, setup=ERRORS, witness="made attempt 4 ")
class TierInNameOnly(Retrying):
    """Whatever the tier is called, all wait as long as the backoff in place."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        if delivery.attempt < self._policy.in_place:
            return await super()._again(delivery, error)
        self._log(delivery, error)
        return await self._parking.park(delivery, tier=1, delay_us=100_000)


@BUGS.plant(
    "retry-law",
    RETRY,
    setup=FLAPPING,
    witness="never failed",
    falls={"dlq-complete": "the attempts that nobody made go on beyond the last one"},
)
class EveryReleaseCounts(Retrying):
    """A dependency that is down costs an attempt of each event that comes by."""

    async def _failed(self, delivery: Delivery, error: LabError) -> Settlement:
        if isinstance(error, Down):
            return Retry(error.after_us)
        return await super()._failed(delivery, error)


@BUGS.plant("retry-law", RETRY, setup=ERRORS, witness="no jitter: ")
class LongestBackoff(Retrying):
    """The backoff is exponential, and all who failed together come back together."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **{**given, "jitter": lambda _event, _attempt: 1.0})


@BUGS.plant("retry-law", RETRY, setup=ERRORS, witness="lay in the upper half")
class HalfTheJitter(Retrying):
    """Jitter is added to half of the backoff: the first half of the time nobody comes."""

    def __init__(self, *args: Any, **given: Any) -> None:
        jitter = given["jitter"]
        given["jitter"] = lambda event, attempt: 0.5 + jitter(event, attempt) / 2
        super().__init__(*args, **given)


@BUGS.plant(
    "retry-law",
    RETRY,
    setup=MANY_ERRORS,
    witness="OrderConfirmed up after attempt",
    falls={"excuse-earned": "a budget that is empty is no reason to give up"},
)
class EmptyBudgetIsTheEnd(Retrying):
    """An event for which no token is left is given up, instead of going through a retry topic."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        if self._budget._left.get(error.dependency, 10.0) < 1:
            return self._bury(delivery, error, "exhausted")
        return await super()._again(delivery, error)


@BUGS.plant(
    "retry-law",
    "lab.wiring.process.roles.Notification",
    setup=Setup(),
    witness="notification failed (Transient) after its outcome was stored",
)
class DoneIsNotEnough(Notification):
    """The verdict of the store is read the wrong way round: what was done is done once more."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        await super().on_news(payload, context)
        raise Transient("the store refused to note it")


@BUGS.plant(
    "retry-law",
    "lab.stores.memory.store.KeyRetryTable",
    setup=SENT_BACK,
    witness="never failed after its redrive",
)
class RedriveGoesOn(KeyRetryTable):
    """A redriven head keeps the attempts that it died with: UPDATE without that column."""

    def revive(self, row: WaitingRow) -> bool:
        before = self.head(row.group, row.key)
        is_revived = super().revive(row)
        head = self.head(row.group, row.key)
        if before is not None and head is not None:
            self.reschedule(replace(head, attempts=before.attempts))
        return is_revived


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=HUNG,
    witness="a charge was sent again under its key in attempt 3",
)
class NeverAsks(KeyPerIntent):
    """Under the same key nothing can go wrong, so nobody asks what became of the first request."""

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:  # noqa: ARG002 - the port's shape
        return False


@BUGS.plant("retry-budget", "lab.wiring.process.chain.RetryBudget", setup=MANY_ERRORS, witness="in")
class FilledByASuccess(RetryBudget):
    """One success fills the bucket to the brim."""

    def give_back(self) -> None:
        self._left.clear()


@BUGS.plant("retry-budget", "lab.wiring.process.chain.RetryBudget", setup=MANY_ERRORS, witness="in")
class FilledByFailures(RetryBudget):
    """Whoever finds no token is given one for the next time: failures refill the bucket."""

    def take(self, dependency: str) -> bool:
        if super().take(dependency):
            return True
        self._left[dependency] += 1
        return False


@BUGS.plant(
    "retry-budget",
    "lab.wiring.process.chain.RetryBudget",
    setup=ERRORS,
    witness="to a retry topic that its budget covered in place",
)
class NoTokens(RetryBudget):
    """The bucket begins empty, so that nothing is ever tried again in place."""

    def take(self, dependency: str) -> bool:
        self._left.setdefault(dependency, 0.0)
        return super().take(dependency)


@BUGS.plant(
    "breaker-law",
    "lab.patterns.breaker._is_failure",
    setup=REFUSED,
    witness="mailer was cut off before enough of its calls had failed",
)
def every_error_is_a_failure(_error: LabError) -> bool:
    """A refusal counts as a failure, so a breaker opens for answers."""
    return True


@BUGS.plant(
    "breaker-law", BREAKER, setup=QUIET_HOUR, witness="was cut off before enough of its calls had"
)
class OneFailureOpens(Breaker):
    """The least number of calls is not read: a hiccup opens it."""

    def __init__(self, dependency: str, **given: Any) -> None:
        super().__init__(dependency, **{**given, "calls_min": 1})


@BUGS.plant(
    "breaker-law", BREAKER, setup=MANY_ERRORS, witness="was cut off before enough of its calls had"
)
class OneInTenOpens(Breaker):
    """The share that opens it is a tenth instead of a half."""

    def __init__(self, dependency: str, **given: Any) -> None:
        super().__init__(dependency, **{**given, "failures_percent": 10})


@BUGS.plant(
    "breaker-law",
    BREAKER,
    setup=FLAPPING,
    witness="was found to be up by a probe that failed",
)
class AnyProbeCloses(Breaker):
    """A probe that came back closes it, whatever it brought."""

    def _open(self) -> None:
        if self._is_probing:
            self._close()
        else:
            super()._open()


@BUGS.plant("breaker-law", BREAKER, setup=FLAPPING, witness="it paused for 49.")
class TenTimesAsLong(Breaker):
    """The third party is long up again, and nobody finds it out: a slipped point."""

    def __init__(self, dependency: str, **given: Any) -> None:
        super().__init__(dependency, **{**given, "open_us": given["open_us"] * 10})


@BUGS.plant("breaker-law", BREAKER, setup=FLAPPING, witness="was let in again without a probe")
class ClosedByTheClock(Breaker):
    """When its time is over it is closed, and everybody comes at once."""

    async def _probe(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._open_until_us <= self._clock():
            self._close()
            return await self.guard(call)(*args, **kwargs)
        return await super()._probe(call, *args, **kwargs)
