"""Bugs about trying again: too often, too soon, for nothing, at somebody who is down."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from lab.bus.turns import Turns
from lab.domain.errors import Indeterminate, LabError, Permanent
from lab.patterns.breaker import Breaker
from lab.patterns.retry import RetryBudget, Retrying, RetryPolicy
from lab.ports.bus import Delivery, Retry, Settlement
from lab.ports.dedupe import Claim
from lab.ports.key_retry import HeadRun, WaitingRow, run_of
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.key_retry import KeyRetryTable
from lab.stores.memory.outcomes import OutcomeTable
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()
P = ParamSpec("P")
T = TypeVar("T")

ERRORS: Final = Setup(scenario="timeouts")
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))
EXHAUSTED: Final = Setup(
    faults=("svc.error@mailer#every20 every=1",),
    settings=(("retry.tiers_ms", (100, 200, 300)), ("retry.base_ms", 10)),
)
REFUSED: Final = Setup(faults=("svc.error@mailer#every20 first=1 status=400",))
LOST_ON_THE_WAY: Final = Setup(
    orders=1,
    faults=(
        "svc.error@warehouse first=1",
        "pg.conn_loss_after_commit@validation nth=3",
        "proc.crash@dlq.before_publish first=1",
    ),
    settings=(("retry.attempts_max", 2),),
)
REDRIVEN: Final = Setup(scenario="dlq-redrive", orders=100)
UNPARKED: Final = Setup(
    faults=(
        "svc.error@mailer#every20 first=4",
        "pg.conn_loss_before_commit@notification#every20 nth=8",
    ),
)
MANY_ERRORS: Final = Setup(orders=150, faults=("svc.error@mailer rate=0.35",))
OUTAGE: Final = Setup(orders=150, faults=("svc.error@payment_gateway at=1s for=20s",))
SILENCE: Final = Setup(orders=150, faults=("svc.timeout@payment_gateway at=1s for=20s",))
THROTTLED: Final = Setup(faults=("svc.error@mailer#every10 first=1 status=429 after=5s",))


@BUGS.plant(
    "retry-law",
    "lab.wiring.backends.memory_servers.MemoryDedupeServer",
    setup=Setup(scenario="crash-before-ack", orders=60),
    witness="for a claim, and a lease lasts 30.000s",
)
class BusyUntil(MemoryDedupeServer):
    """A busy claim tells when its lease ends, and who asks takes it for the time that is left."""

    def claim(self, name: str, event_id: str, owner: str, lease_us: int) -> Claim:
        claim = super().claim(name, event_id, owner, lease_us)
        return replace(claim, busy_us=claim.busy_us and claim.busy_us + self._now())


@BUGS.plant(
    "retry-law",
    "lab.wiring.process.chain.RetryPolicy",
    setup=EXHAUSTED,
    witness="tried again after attempt 6 of 6",
)
def one_more(**given: Any) -> RetryPolicy:
    """`attempts_max` is read as retries, so there is one attempt more."""
    return RetryPolicy(**{**given, "attempts_max": given["attempts_max"] + 1})


@BUGS.plant("retry-law", "lab.wiring.process.chain.RetryPolicy", setup=ERRORS, witness="backoff of")
def backoff_without_a_cap(**given: Any) -> RetryPolicy:
    """The backoff doubles, and the first one is a thousand times too long: seconds for ms."""
    return RetryPolicy(**{**given, "base_us": given["base_us"] * 1_000, "cap_us": 2**40})


@BUGS.plant(
    "retry-law",
    "lab.wiring.process.chain.RetryPolicy",
    setup=THROUGH_TIERS,
    witness="through retry topic 1",
)
def tiers_from_zero(**given: Any) -> RetryPolicy:
    """Tiers count from 1 and lists from 0: the first one gets the delay of the last."""
    tiers_us = given["tiers_us"]
    return RetryPolicy(**{**given, "tiers_us": (tiers_us[-1], *tiers_us[:-1])})


@BUGS.plant(
    "retry-law", "lab.wiring.policy.Switches.retry.strong", setup=ERRORS, witness="too early"
)
class RetryWithoutWaiting(Retrying):
    """The backoff is computed, logged, and not waited for."""

    def _in_place(self, delivery: Delivery, error: LabError) -> Settlement:
        super()._in_place(delivery, error)
        return Retry(0)


@BUGS.plant(
    "retry-law", "lab.stores.memory.store.KeyRetryTable", setup=THROUGH_TIERS, witness="too early"
)
class NotBeforeForgotten(KeyRetryTable):
    """An alarm runs the head at once: its not-before is not read."""

    def head(self, group: str, key: str) -> WaitingRow | None:
        head = super().head(group, key)
        return None if head is None else replace(head, not_before_us=0)


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.retry.strong",
    setup=REFUSED,
    witness="tried again after Permanent",
)
class EverythingMayPass(Retrying):
    """All errors are alike: a 400 is tried again, too."""

    async def _failed(self, delivery: Delivery, error: LabError) -> Settlement:
        if isinstance(error, Permanent):
            return await self._again(delivery, error)
        return await super()._failed(delivery, error)


@BUGS.plant(
    "retry-law",
    "lab.stores.memory.store.KeyRetryTable",
    setup=EXHAUSTED,
    witness="attempts at one event",
)
class AttemptsNotStored(KeyRetryTable):
    """UPDATE ... SET not_before = ...: the count of attempts stays what it was."""

    def reschedule(self, row: WaitingRow) -> bool:
        head = super().head(row.group, row.key)
        return super().reschedule(replace(row, attempts=head.attempts if head else 0))


@BUGS.plant(
    "retry-law", "lab.wiring.policy.Switches.retry.strong", setup=THROTTLED, witness="too early"
)
class HintIgnored(Retrying):
    """Retry-After is not read: who is throttled comes back at once."""

    async def _wait(self, delivery: Delivery, error: LabError, after_us: int) -> Settlement:
        return await super()._wait(delivery, error, min(after_us, 100_000))


@BUGS.plant(
    "converges",
    "lab.wiring.policy.Switches.retry.strong",
    setup=LOST_ON_THE_WAY,
    witness="it is PENDING at the end",
)
class AttemptsThatNobodyMade(Retrying):
    """Whatever comes out of the links inside was an attempt, whether or not a handler started."""

    async def _failed(self, delivery: Delivery, error: LabError) -> Settlement:
        delivery.has_run = True
        return await super()._failed(delivery, error)


@BUGS.plant(
    "retry-budget", "lab.wiring.process.chain.RetryBudget", setup=MANY_ERRORS, witness="in place"
)
class BudgetWithoutABottom(RetryBudget):
    """The tokens are counted, and what is left is not compared."""

    def take(self, dependency: str) -> bool:
        super().take(dependency)
        return True


@BUGS.plant(
    "retry-budget", "lab.wiring.process.chain.RetryBudget", setup=MANY_ERRORS, witness="in place"
)
class BudgetPerRetry(RetryBudget):
    """A bucket is made anew for each event, so that it is always full."""

    def take(self, dependency: str) -> bool:
        self._left.pop(dependency, None)
        return super().take(dependency)


@BUGS.plant("breaker-law", setup=OUTAGE, off=("breaker",), witness="to a dependency that was down")
def no_breaker() -> None:
    """Every order tries it, again and again."""


@BUGS.plant(
    "breaker-law",
    "lab.wiring.policy.Switches.breaker.strong",
    setup=SILENCE,
    witness="to a dependency that was down",
)
class SilenceIsNoFailure(Breaker):
    """Only answers that say 5xx are counted; a time-out counts as nothing."""

    def guard(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        async def quiet(*args: P.args, **kwargs: P.kwargs) -> T | Indeterminate:
            try:
                return await call(*args, **kwargs)
            except Indeterminate as error:
                return error

        guarded = super().guard(quiet)

        async def loud(*args: P.args, **kwargs: P.kwargs) -> T:
            answer = await guarded(*args, **kwargs)
            if isinstance(answer, Indeterminate):
                raise answer
            return answer

        return loud


@BUGS.plant(
    "breaker-law",
    "lab.wiring.policy.Switches.breaker.strong",
    setup=OUTAGE,
    witness="to a dependency that was down",
    falls={"retry-budget": "a call beside the breaker is retried from a bucket without a name"},
)
class OpenInNameOnly(Breaker):
    """The breaker opens, alarms somebody, and lets the calls through."""

    def guard(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        guarded = super().guard(call)

        async def through(*args: P.args, **kwargs: P.kwargs) -> T:
            return await (guarded if self._state == "closed" else call)(*args, **kwargs)

        return through


@BUGS.plant(
    "breaker-law",
    "lab.wiring.policy.Switches.breaker.strong",
    setup=OUTAGE,
    witness="to a dependency that was down",
)
class EveryCallIsAProbe(Breaker):
    """Half open is open to all: whoever comes while the probe is out goes with it."""

    async def _probe(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self._is_probing = False
        return await super()._probe(call, *args, **kwargs)


@BUGS.plant(
    "breaker-law",
    "lab.wiring.policy.Switches.breaker.strong",
    setup=OUTAGE,
    witness="to a dependency that was down",
)
class ProbesTooSoon(Breaker):
    """The time until the next probe is a tenth of what it should be: a slipped point."""

    def __init__(self, dependency: str, **given: Any) -> None:
        super().__init__(dependency, **{**given, "open_us": given["open_us"] // 10})


# ---- retry-in-time


BACKLOG: Final = Setup(
    orders=600,
    rate=300,
    faults=("svc.error@payment_gateway#every20 first=1",),
    settings=(
        ("retry.in_place", 1),
        ("retry.late_ms", 5_000),
        ("bus.max_in_flight", 32),
        ("payment.latency_ms", 400),
    ),
)


@BUGS.plant(
    "retry-in-time",
    "lab.bus.memory.consumer.Turns",
    setup=BACKLOG,
    witness="behind records that came later",
)
class MainTopicsFirst(Turns):
    """Partitions are read as they come, and the main topic has always something to read."""

    def retries_first(self) -> bool:
        return False


@BUGS.plant(
    "retry-law", "lab.stores.memory.store.OutcomeTable", setup=REDRIVEN, witness="attempt 3 2 times"
)
class SettledByItsDeath(OutcomeTable):
    """What has died once counts as settled: after its redrive it cannot be parked, and runs on."""

    def settled(self, group: str, event_id: str, redrives: int) -> bool:  # noqa: ARG002 - the shape of what it replaces
        return self.find(group, event_id) is not None


@BUGS.plant(
    "retry-law",
    "lab.patterns.key_lanes.run_of",
    setup=REDRIVEN,
    witness="ran as sent back 1 times, and was 0",
)
def redrives_of_the_alarm(row: WaitingRow, alarm: Delivery) -> HeadRun:
    """A head runs as if it had been sent back as often as the one whose alarm it is."""
    return run_of(replace(row, redrives=alarm.redrives), alarm)


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.retry.strong",
    setup=UNPARKED,
    witness="attempt 3 2 times",
)
class UnparkedForNothing(Retrying):
    """While the broker takes no retries, a failed run counts as none: it is tried without end."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:
        settled = await super()._again(delivery, error)
        is_unparked = isinstance(settled, Retry) and delivery.attempt >= self._policy.in_place
        return Retry(self._policy.cap_us, counts=False) if is_unparked else settled
