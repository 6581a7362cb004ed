"""Bugs about processes: no bounds, no deadlines, gone without goodbye, keeping what they took."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec.structs import replace as replace_fields

from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.loop.intake import Intake
from lab.bus.loop.lanes import Held, Lane, Lanes
from lab.domain.events import Payload
from lab.patterns.drain import Drain
from lab.patterns.key_lanes import KeyLanes
from lab.patterns.load_shedding import LoadShedding
from lab.patterns.outbox import Relay, _Lane
from lab.patterns.poison_guard import PoisonGuard
from lab.patterns.timeout import NEVER_US
from lab.ports.bus import Delivery, Listener, Settlement, StopReport, TopicPartition
from lab.ports.dedupe import Claim
from lab.ports.service import Context
from lab.ports.store import Unit
from lab.ports.strategies import KeyRefusal
from lab.services.notification import Notification
from lab.services.orders import Cancelled, Orders, OrdersUseCases
from lab.services.payment import Payment
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.wiring.process.chain import _limits
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

RUSH: Final = Setup(
    orders=150, rate=1_000, settings=(("bus.max_in_flight", 32), ("bus.workers", 4))
)
STUCK: Final = Setup(
    rate=100,
    faults=("svc.slow@warehouse#3 first=1 by=1800ms",),
    settings=(("bus.max_uncommitted", 10), ("bus.partitions", 1)),
)
SILENCE: Final = Setup(faults=("svc.timeout@payment_gateway#every10 first=1",))
SHUTDOWN: Final = Setup(scenario="graceful-shutdown", orders=250, rate=30)
THROTTLED_SHUTDOWN: Final = Setup(
    scenario="graceful-shutdown",
    orders=250,
    rate=30,
    faults=("svc.error@payment_gateway#every10 first=1 status=429 after=60s",),
)
SHUTDOWN_WITHOUT_REDIS: Final = Setup(
    orders=1,
    faults=(
        "bus.duplicate@validation first=1",
        "redis.down at=10ms for=60s",
        "proc.term@validation at=300ms",
    ),
    settings=(("dedupe.when_down", "closed"),),
)
CROWD: Final = Setup(scenario="black-friday", orders=None)
CANCELS: Final = Setup(faults=("client.cancel#7 first=1 after=2s",))
DEAD: Final = Setup(faults=("svc.error@mailer#5 first=1 status=400",))
EARLY_US: Final = 300_000
LATE_US: Final = 3_000_000
"""A bug that shows until then is gone in the next life, or the next attempt."""
KILLED: Final = Setup(faults=("proc.crash@handler.after_commit#every10 first=1",))


# ---- bounded


@BUGS.plant(
    "bounded",
    "lab.wiring.process.chain._limits",
    setup=RUSH,
    witness="records in hand; 32 are allowed",
)
def no_back_pressure(policy: Any) -> Limits:
    """Whatever the broker has is fetched, and waits in memory."""
    return replace(_limits(policy), max_in_flight=100_000)


@BUGS.plant(
    "bounded",
    "lab.wiring.process.chain._limits",
    setup=RUSH,
    witness="handlers at work; 4 are allowed",
)
def a_task_per_message(policy: Any) -> Limits:
    """Each record gets a task of its own."""
    return replace(_limits(policy), workers=200)


@BUGS.plant(
    "bounded",
    "lab.wiring.process.chain._limits",
    setup=STUCK,
    witness="uncommitted; 10 are allowed",
)
def never_waits_for_the_slow_one(policy: Any) -> Limits:
    """What is settled behind a record that is stuck piles up, and all of it comes again one day."""
    return replace(_limits(policy), max_uncommitted=100_000)


@BUGS.plant(
    "bounded",
    setup=CROWD,
    off=("load_shedding",),
    witness="requests in hand; 100 are allowed",
)
def takes_everybody() -> None:
    """Whoever comes is let in, and waits for the database with everybody else."""


@BUGS.plant(
    "bounded",
    "lab.wiring.policy.Switches.load_shedding.strong",
    setup=CROWD,
    witness="requests in hand; 100 are allowed",
)
class OneTooMany(LoadShedding):
    """The bound is compared before the request is counted, so that one more comes in."""

    def admits(self, in_hand: int) -> bool:
        return super().admits(in_hand - 1)


# ---- deadline


@BUGS.plant(
    "deadline",
    setup=SILENCE,
    off=("timeout",),
    witness="hung for",
    falls={"converges": "the handler waits for ever", "drains": "its record is never committed"},
)
def no_timeout() -> None:
    """Nobody has a deadline: who gets no answer waits for ever."""


@BUGS.plant(
    "deadline", "lab.wiring.process.roles.Payment", setup=SILENCE, witness="charge in payment-1"
)
def client_without_a_timeout(**given: Any) -> Payment:
    """The client library waits as long as it must; the handler's own deadline ends the call."""
    return Payment(**{**given, "timeout_us": NEVER_US})


# ---- graceful-shutdown


@BUGS.plant("graceful-shutdown", setup=SHUTDOWN, off=("drain",), witness="left")
def no_drain() -> None:
    """The process exits on SIGTERM, in the middle of what it does."""


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.process.chain.DeliveryLoop",
    setup=SHUTDOWN,
    witness="were started again",
)
class NoLastCommit(DeliveryLoop):
    """The drain ends all handlers and leaves; what they settled last is not committed."""

    async def stop(self, grace_us: int) -> StopReport:
        async def forget(deadline_us: int) -> bool:  # noqa: ARG001 - the shape of what it replaces
            return True

        self._committer.flush = forget  # type: ignore[method-assign]  # the bug
        return await super().stop(grace_us)


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.policy.Switches.drain.strong",
    setup=THROTTLED_SHUTDOWN,
    witness="took",
)
class GraceInTheWrongUnit(Drain):
    """The grace is given in milliseconds where microseconds are meant, and for each step anew."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "grace_us": given["grace_us"] * 1_000})


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.process.chain.DeliveryLoop",
    setup=SHUTDOWN,
    witness="left",
)
class LeavesBeforeItEnds(DeliveryLoop):
    """Close the consumer first: what is in hand is thrown away."""

    async def stop(self, grace_us: int) -> StopReport:  # noqa: ARG002 - the shape of what it replaces
        self._tear_down()
        await self._consumer.leave()
        return StopReport()


@BUGS.plant(
    "graceful-shutdown",
    "lab.patterns.key_lanes.KeyLanes",
    setup=SHUTDOWN_WITHOUT_REDIS,
    witness="were started again",
)
class AsksBeforeItLeaves(KeyLanes):
    """What a stop cannot move because it is done goes through the chain, which waits for Redis."""

    async def _follow(self, delivery: Delivery) -> Settlement:
        return await self(delivery)


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.policy.Switches.poison_guard.strong",
    setup=SHUTDOWN,
    witness="ran it alone",
)
class CutWithoutAWord(PoisonGuard):
    """Who is cancelled by a stop does not say so: the start counts as one that killed a worker."""

    async def _explain(self, key: tuple[str, str, int]) -> None:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            await super()._explain(key)


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.process.chain.DeliveryLoop",
    setup=SHUTDOWN,
    witness="cut a handler off after 0.000s",
)
class NoGraceAfterARebalance(DeliveryLoop):
    """The deadline of the last rebalance is kept, and the next stop believes it."""

    async def on_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await super().on_revoked(partitions)
        self._revoked_us = self._now()


@BUGS.plant(
    "retry-law",
    "lab.patterns.key_lanes.KeyLanes",
    setup=SHUTDOWN,
    witness="and attempt 1 never failed",
)
class MovedIsTried(KeyLanes):
    """What a stop moves to the retry path is counted as one more attempt."""

    async def move(self, delivery: Delivery) -> Settlement:
        return await super().move(replace_fields(delivery, attempt=delivery.attempt + 1))


@BUGS.plant(
    "drains",
    "lab.bus.loop.delivery.Lanes",
    setup=Setup(scenario="graceful-shutdown", seed=2, orders=250, rate=30),
    witness="did not commit it",
    falls={"graceful-shutdown": "its position stays behind what it had settled"},
)
class NextOfSomebodyElse(Lanes):
    """A handler that outlives its assignment takes its successor's record out of the lane."""

    def next(self, lane: Lane, held: Held | None) -> None:
        super().next(lane, held if held is None or not lane.queue else lane.queue[0])


# ---- no-leak


@BUGS.plant(
    "no-leak",
    "lab.wiring.backends.memory_servers.MemoryDedupeServer",
    setup=KILLED,
    witness="lease",
    falls={
        "converges": "the event of the claim waits for ever",
        "drains": "and so does its record",
        "retry-law": "whoever finds it busy is told to wait as long",
    },
)
class ClaimsForEver(MemoryDedupeServer):
    """SETNX without EX: the claim of a dead process stands for ever."""

    def claim(self, name: str, event_id: str, owner: str, lease_us: int) -> Claim:  # noqa: ARG002 - the shape of what it replaces
        return super().claim(name, event_id, owner, NEVER_US)


# ---- no-crash


@BUGS.plant(
    "no-crash", "lab.wiring.process.roles.OrdersUseCases", setup=CANCELS, witness="a request"
)
class CancelOfNobody(OrdersUseCases):
    """The handler of the API reads a field that is not always there."""

    async def cancel(self, order_id: str, *, key: str = "") -> Cancelled | KeyRefusal:
        if self.clock.now_us() < LATE_US:
            raise KeyError(order_id)
        return await super().cancel(order_id, key=key)


@BUGS.plant(
    "no-crash", "lab.wiring.process.roles.Orders", setup=Setup(), witness="its timer and ended"
)
class TimerThatDies(Orders):
    """The timer dies of an error that is none of the store's, and its process with it."""

    async def run_expiry(self) -> None:
        if self.clock.now_us() < EARLY_US:
            raise ZeroDivisionError
        await super().run_expiry()


@BUGS.plant(
    "no-crash", "lab.wiring.process.roles.Relay", setup=Setup(), witness="its relay and ended"
)
class RelayThatDies(Relay):
    """The relay meets a row that it cannot read, and nobody catches that."""

    async def _relay_batch(self, lane: _Lane) -> None:
        await super()._relay_batch(lane)
        if self._clock.now_us() < EARLY_US:
            raise ValueError(lane)


@BUGS.plant(
    "no-crash",
    "lab.wiring.process.roles.Notification",
    setup=DEAD,
    witness="the chain around a handler",
)
class ReactionThatRaises(Notification):
    """The reaction to a dead event stumbles over its own bookkeeping at first."""

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        if self.clock.now_us() < EARLY_US:
            raise IndexError(event_type)
        return await super().on_dead(order_id, event_type)


@BUGS.plant(
    "no-crash",
    "lab.wiring.process.roles.Notification",
    setup=Setup(),
    witness="raised what nobody expects at OrderCreated",
    falls={"excuse-earned": "nothing outside has failed"},
)
class HandlerThatRaises(Notification):
    """A handler divides by the number of something that is not there, now and then."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if self.clock.now_us() < EARLY_US:
            raise ZeroDivisionError
        await super().on_news(payload, context)


@BUGS.plant(
    "no-crash", "lab.bus.loop.delivery.Intake", setup=Setup(), witness="its subscription and ended"
)
class IntakeThatDies(Intake):
    """The loop that fetches ends by an error, and nothing is consumed any more."""

    async def run(self, topics: Sequence[str], listener: Listener) -> None:
        if self._now() < EARLY_US:
            raise RuntimeError(topics)
        await super().run(topics, listener)
