"""Bugs of patterns and of the delivery loop that show only where rare things meet."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

from msgspec.structs import replace

from lab.bus.loop.committing import PositionCommitter
from lab.bus.loop.delivery import DeliveryLoop
from lab.bus.loop.ends import HandlerRun, Settler
from lab.bus.loop.lanes import Held, Lanes
from lab.bus.loop.offsets import OffsetTracker
from lab.domain.envelope import Envelope
from lab.domain.errors import LabError
from lab.patterns.breaker import Breaker
from lab.patterns.dead_letter import DeadLetterQueue, Limiter
from lab.patterns.dedupe import Dedupe
from lab.patterns.key_lanes import KeyParking
from lab.patterns.outbox import Relay, _Lane, to_record
from lab.patterns.redrive import Letter, Redrive
from lab.patterns.redrive import to_record as answer_of
from lab.patterns.retry import Retrying, RetryPolicy
from lab.patterns.timeout import NEVER_US, Timeout
from lab.ports.bus import DeadLetter, Delivery, Outgoing, Settlement, TopicPartition
from lab.stores.memory.store import MemoryStoreServer
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()
P = ParamSpec("P")
T = TypeVar("T")

REDRIVEN: Final = Setup(scenario="dlq-redrive", orders=100)
LONG_HINT: Final = Setup(faults=("svc.error@mailer#every10 first=1 status=429 after=8s",))
ALWAYS_THROTTLED: Final = Setup(
    orders=30,
    rate=0.5,
    faults=("svc.error@mailer#10 rate=1 status=429 after=1s",),
    settings=(("retry.max_elapsed_ms", 40_000),),
)
SHORT_CAP: Final = Setup(scenario="timeouts", settings=(("retry.cap_ms", 150),))


# ---- retry-law, retry-in-time


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.key_lanes.strong",
    setup=LONG_HINT,
    witness="was asked to stay away, and tried again 3.000s too early",
)
class HintOfItsTier(KeyParking):
    """What must wait longer goes to a retry topic, and waits for as long as that says."""

    async def park(
        self, delivery: Delivery, *, tier: int, delay_us: int, counts: bool = True
    ) -> Settlement:
        shortest_us = delay_us if counts else self._tiers_us[0]
        return await super().park(delivery, tier=tier, delay_us=shortest_us, counts=counts)


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.retry.strong",
    setup=ALWAYS_THROTTLED,
    witness="of being throttled; 40.000s are allowed",
)
class ThrottledAnew(Retrying):
    """Since when an event is throttled is noted each time, so nobody ever gives up."""

    async def _wait(self, delivery: Delivery, error: LabError, after_us: int) -> Settlement:
        self._throttled.pop(delivery.event_id, None)
        return await super()._wait(delivery, error, after_us)


@BUGS.plant(
    "retry-law", "lab.wiring.process.chain.RetryPolicy", setup=SHORT_CAP, witness="backoff of"
)
def cap_left_out(**given: Any) -> RetryPolicy:
    """The backoff doubles without a cap, which few attempts in place ever come to."""
    return RetryPolicy(**{**given, "cap_us": 2**40})


@BUGS.plant(
    "retry-law",
    "lab.patterns.redrive.to_record",
    setup=Setup(
        faults=("svc.error@mailer#every10 first=1", "svc.error@mailer#every10 nth=2 status=400"),
        settings=(("operator.redrives", 1),),
    ),
    witness="and attempt 1 never failed after its redrive",
)
def attempts_of_its_life_before(letter: Letter, *, is_discard: bool) -> Outgoing:
    """A letter is sent back as it died, with all the attempts that it had used up."""
    record = answer_of(letter, is_discard=is_discard)
    headers = [
        (name, b"%d" % letter.attempts if name == "lab-attempt" else value)
        for name, value in record.headers
    ]
    return replace(record, headers=tuple(headers))


@BUGS.plant(
    "retry-law",
    "lab.wiring.policy.Switches.key_lanes.strong",
    setup=Setup(
        orders=60,
        rate=30,
        faults=(
            "svc.error@mailer rate=0.3",
            "proc.term@notification at=1s",
            "proc.term@notification at=2s",
        ),
        settings=(
            ("retry.base_ms", 2_000),
            ("retry.budget_tokens", 100),
            ("drain.grace_ms", 2_000),
            ("run.restart_ms", 100),
            ("run.members", 2),
        ),
    ),
    witness="0.137s too early",
)
class MovedWithoutItsWait(KeyParking):
    """A stop moves what waits for its next attempt, and whoever gets it begins at once."""

    async def move(self, delivery: Delivery) -> Settlement:
        return await super().move(replace(delivery, wait_us=0))


@BUGS.plant(
    "retry-in-time",
    "lab.bus.loop.delivery.Lanes",
    setup=Setup(
        orders=200,
        rate=20,
        faults=("svc.error@mailer#every2 first=1",),
        settings=(
            ("retry.in_place", 1),
            ("retry.tiers_ms", (20_000,)),
            ("bus.max_in_flight", 20),
        ),
    ),
    witness="had only early retries in hand",
)
class EarlyOnesTakePlaces(Lanes):
    """A retry that is not due counts as in flight: enough of them, and nothing is fetched."""

    def _came_early(self, held: Held) -> None:
        """Nothing is counted."""


# ---- retry-budget


@BUGS.plant(
    "retry-budget",
    "lab.wiring.policy.Switches.redrive.strong",
    setup=REDRIVEN,
    witness="came sooner than 50 a second allow",
)
class RateOfMilliseconds(Redrive):
    """The gap between two letters is given in milliseconds where microseconds are meant."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "rate": given["rate"] * 1_000})


@BUGS.plant(
    "retry-budget",
    "lab.wiring.process.chain.Limiter",
    setup=REDRIVEN,
    witness="because too many events had died, and they had not",
)
class NoSuccessBetween(Limiter):
    """A success does not end a row of dead letters: ten of a day are too many."""

    def succeeded(self) -> None:
        self._count(is_dead=False)


# ---- dedupe-sound, dlq-sound, dlq-complete


@BUGS.plant(
    "dedupe-sound",
    "lab.wiring.policy.Switches.dedupe.strong",
    setup=Setup(scenario="lost-acks"),
    witness="which was done within the dedupe window",
)
class DoneForALease(Dedupe):
    """That an event is done expires with the claim under which it was done."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, "window_us": named["lease_us"]})


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.backends.memory_servers.MemoryStoreServer",
    setup=Setup(
        orders=12,
        faults=("proc.crash_loop@payment#10",),
        settings=(("operator.redrives", 2),),
    ),
    witness="0 processes of payment died since it was sent back",
)
class StartsOfItsLifeBefore(MemoryStoreServer):
    """Starts are counted by event, so one that is sent back has used up its own already."""

    def begin_start(self, key: tuple[str, str, int]) -> int:
        return super().begin_start((*key[:2], 0))

    def explain_start(self, key: tuple[str, str, int]) -> None:
        super().explain_start((*key[:2], 0))


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=Setup(
        scenario="poison-message",
        orders=60,
        faults=("bus.publish_unknown@dlq first=1 appended=no",),
    ),
    witness="in no DLQ of it",
)
class LettersAreBestEffort(DeadLetterQueue):
    """The outcome is committed: a queue that is away must not hold up the others."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        with suppress(LabError):
            await super().publish(delivery, dead)


# ---- commit-forward, per-key-order


@BUGS.plant(
    "commit-forward",
    "lab.bus.loop.delivery.PositionCommitter",
    setup=Setup(scenario="rebalance-storm", orders=120),
    witness="and then at",
    falls={
        "one-owner": "a member tells of a position in a partition that it has no more",
        "drains": "the records below the last position look as if nobody had handled them",
    },
)
class OnceMoreUnderTheNewEpoch(PositionCommitter):
    """What was settled under the first epoch is committed under each new one, to be sure."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._first: dict[TopicPartition, OffsetTracker] = {}

    def settled(self, tracker: OffsetTracker) -> None:
        self._first.setdefault(tracker.partition, tracker)
        super().settled(tracker)

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        for tracker in self._first.values() if epoch else ():
            tracker.committed = -1
            self.settled(tracker)


@BUGS.plant(
    "per-key-order",
    "lab.wiring.process.roles.Relay",
    setup=Setup(
        scenario="declined-cards",
        orders=60,
        rate=20,
        faults=(
            "proc.crash@relay at=1s",
            "client.cancel#every3 first=1 after=100ms",
            "bus.drop_publish@orders#every3 first=1",
        ),
        settings=(("run.restart_ms", 3_000),),
    ),
    witness="handled change 1 after change 2 of topic orders",
)
class OneMustNotHoldUpTheOthers(Relay):
    """Events are published one by one; one that fails is left for the next round."""

    async def _relay_batch(self, lane: _Lane) -> None:
        store, publisher = self._store, self._publisher
        failed: list[LabError] = []
        lane.rests = True
        if lane.shard is None:
            lane.shard = await store.own_shard()
        if lane.shard is None:
            await store.wait_shard()
            return
        await store.wait_unpublished(lane.shard)
        lane.rests = False
        sent = []
        for row in await store.unpublished(lane.shard, self._batch):
            try:
                await publisher.publish([to_record(row.envelope)])
            except LabError as error:
                failed.append(error)
            else:
                sent.append(row)
        await store.mark_published(sent)
        if failed:
            raise failed[0]


# ---- deadline, graceful-shutdown, converges


@BUGS.plant(
    "deadline",
    "lab.wiring.policy.Switches.timeout.strong",
    setup=Setup(orders=200, rate=20, faults=("pg.slow@validation#every10 nth=3 by=12s",)),
    witness="handler of OrderCreated in validation-1 took",
)
class WatchesFromNowOn(Timeout):
    """The timer is set for a whole deadline each time, whenever the oldest run began."""

    def _arm(self, after_us: int) -> None:  # noqa: ARG002 - the bug
        super()._arm(self._handler_us)


@BUGS.plant(
    "deadline",
    "lab.bus.loop.ends.HandlerRun",
    setup=Setup(
        orders=30,
        rate=1,
        faults=(
            "svc.hang_after_effect@payment_gateway#5 first=2",
            "pg.slow@payment#5 nth=16 by=9s",
        ),
    ),
    witness="payment_gateway.query in payment-1 was given 1.000s more than its handler",
)
class DeadlineNotPassedOn(HandlerRun):
    """The run has a deadline, and the calls that it makes know nothing of it."""

    def __init__(
        self, delivery: Delivery, envelope: Envelope, settler: Settler, _deadline_us: int
    ) -> None:
        super().__init__(delivery, envelope, settler, NEVER_US)


@BUGS.plant(
    "graceful-shutdown",
    "lab.wiring.process.chain.DeliveryLoop",
    setup=Setup(
        orders=60,
        rate=30,
        faults=(
            "svc.error@mailer rate=0.3",
            "proc.term@notification at=1s",
            "proc.term@notification at=3s",
        ),
        settings=(("retry.base_ms", 500), ("retry.budget_tokens", 100)),
    ),
    witness="abandoned",
)
class ParkedAreAtRest(DeliveryLoop):
    """The drain is over when no handler runs; what waits for its next attempt is left behind."""

    def _is_drained(self) -> bool:
        return self._workers.is_at_rest() and self._workers.is_idle()


@BUGS.plant(
    "converges",
    "lab.wiring.policy.Switches.breaker.strong",
    setup=Setup(
        scenario="flapping-gateway",
        seed=2,
        orders=100,
        rate=10,
        faults=("svc.flapping@warehouse down=2s up=3s",),
        settings=(("validation.rejected_percent", 50),),
    ),
    witness="it is PENDING at the end",
    falls={
        "no-lost-event": "it waits in the rows of its key",
        "drains": "nothing of its group is ever committed",
    },
)
class ProbeThatNobodyEnds(Breaker):
    """A probe that is cancelled is out for ever: an answer is what ends one."""

    async def _probe(self, call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        is_over = False

        async def watched(*given: P.args, **named: P.kwargs) -> T:
            nonlocal is_over
            try:
                answer = await call(*given, **named)
            except LabError:
                is_over = True
                raise
            is_over = True
            return answer

        was_probing = self._is_probing
        try:
            return await super()._probe(watched, *args, **kwargs)
        finally:
            self._is_probing = was_probing or (self._state == "half_open" and not is_over)
