"""Bugs about events: lost, done twice, suppressed for nothing, acked too early, overtaken."""

from typing import Any, Final

from msgspec.structs import replace

from lab.bus.loop.delivery import Limits
from lab.bus.loop.ends import Invoke
from lab.domain.errors import LabError
from lab.domain.events import OrderConfirmed, Payload
from lab.patterns.dead_letter import DeadLetters
from lab.patterns.dedupe import Dedupe
from lab.patterns.inbox import Inbox
from lab.patterns.provider_key import KeyPerIntent
from lab.patterns.retry import Retrying
from lab.ports.bus import Ack, DeadLetter, Delivery, Ordering, Settlement
from lab.ports.dedupe import Claim
from lab.ports.key_retry import Arrival, WaitingRow
from lab.ports.service import Context
from lab.ports.store import Revenue, Unit, UnitVerdict
from lab.services.notification import Notification
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.key_retry import KeyRetryTable
from lab.stores.memory.store import MemoryStoreServer
from lab.wiring.process.chain import _limits
from tests.planted_bugs.planting import Bugs, Setup, in_background

BUGS: Final = Bugs()

DUPLICATES: Final = Setup(scenario="duplicates")
ERRORS: Final = Setup(scenario="timeouts")
CLAIMED_AND_KILLED: Final = Setup(faults=("proc.crash@dedupe.after_claim#every10 first=1",))
KILLED_BEFORE: Final = Setup(faults=("proc.crash@handler.before_commit#every10 first=1",))
KILLED_BEFORE_CONFIRMED: Final = Setup(faults=("proc.crash@handler.before_commit#every10 nth=5",))
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))


# ---- no-lost-event, dedupe-sound


@BUGS.plant(
    "dedupe-sound",
    setup=CLAIMED_AND_KILLED,
    settings={"dedupe.phases": 1},
    witness="and nothing was ever done",
    falls={
        "no-lost-event": "the record was acknowledged, and nothing of it was done",
        "converges": "its order waits for ever",
        "no-leak": "a mark is a claim that nobody gives back",
    },
)
def mark_before_the_effect() -> None:
    """One SETNX before the handler: who dies after it leaves a mark for what was never done."""


@BUGS.plant(
    "effect-once",
    "lab.wiring.backends.memory_servers.MemoryStoreServer",
    setup=Setup(scenario="redis-evicted", orders=60),
    witness="notification committed its unit of work for OrderCreated 2 times",
    falls={"per-key-order": "the second run commits after those of later events"},
)
class OutcomeOfOrdersOnly(MemoryStoreServer):
    """A commit looks at the outcome beside the order's row, and a mail has no such row."""

    def _overruled(self, unit: Unit) -> UnitVerdict | None:
        return super()._overruled(unit) if unit.order_id else None


@BUGS.plant(
    "dedupe-sound",
    "lab.wiring.backends.memory_servers.MemoryDedupeServer",
    setup=Setup(),
    witness="and nothing was ever done",
    falls={
        "no-lost-event": "the record was acknowledged, and nothing of it was done",
        "converges": "its order waits for ever",
    },
)
class KeyWithoutItsGroup(MemoryDedupeServer):
    """The key is the event's id: what one group has handled is done for all of them."""

    def claim(self, _name: str, event_id: str, owner: str, lease_us: int) -> Claim:
        return super().claim("", event_id, owner, lease_us)

    def complete(self, _name: str, event_id: str, owner: str, fence: int, window_us: int) -> bool:
        return super().complete("", event_id, owner, fence, window_us)

    def release(self, _name: str, event_id: str, owner: str, fence: int) -> bool:
        return super().release("", event_id, owner, fence)


@BUGS.plant(
    "dedupe-sound",
    "lab.wiring.policy.Switches.dedupe.strong",
    setup=ERRORS,
    witness="and nothing was ever done",
    falls={
        "no-lost-event": "the record was acknowledged, and nothing of it was done",
        "converges": "its order waits for ever",
    },
)
class DoneHoweverItEnded(Dedupe):
    """The claim is completed in a `finally`, also when the handler failed."""

    async def _end(self, delivery: Delivery, fence: int, *, is_done: bool) -> None:  # noqa: ARG002 - the shape of what it replaces
        await super()._end(delivery, fence, is_done=True)


@BUGS.plant(
    "no-lost-event",
    "lab.wiring.process.chain.Invoke",
    setup=ERRORS,
    witness="acknowledged OrderCreated without an outcome",
    falls={
        "ack-after-effect": "what failed is acknowledged as handled",
        "converges": "its order waits for ever",
    },
)
class ErrorsAreLogged(Invoke):
    """`except Exception: log.exception(...)` around the handler, and on to the next record."""

    async def __call__(self, delivery: Delivery) -> Settlement:
        try:
            return await super().__call__(delivery)
        except LabError:
            return Ack("handled")


@BUGS.plant(
    "no-lost-event",
    "lab.stores.memory.store.KeyRetryTable",
    setup=THROUGH_TIERS,
    witness="acknowledged OrderConfirmed without an outcome",
    falls={
        "ack-after-effect": "the record is acknowledged as parked, and is no row",
        "converges": "nobody comes back to it",
    },
)
class LaterEventsAreNotKept(KeyRetryTable):
    """A later event of a key in retry is acknowledged, and nobody writes its row."""

    def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:
        head = self.head(row.group, row.key)
        if head is not None and head.event_id != row.event_id:
            return Arrival.APPENDED, None
        return super().arrive(row)


@BUGS.plant(
    "dedupe-sound",
    "lab.wiring.policy.Switches.dedupe.strong",
    setup=KILLED_BEFORE,
    witness="and nothing was ever done",
    falls={
        "no-lost-event": "the record was acknowledged, and nothing of it was done",
        "converges": "its order waits for ever",
    },
)
class DoneBeforeTheCommit(Dedupe):
    """The claim is completed before the handler runs, so that nobody else can begin."""

    async def _run(self, delivery: Delivery, claim: Claim) -> Settlement:
        await super()._end(delivery, claim.fence, is_done=True)
        return await self._inner(delivery)


# ---- effect-once


@BUGS.plant("effect-once", setup=DUPLICATES, off=("dedupe", "inbox"), witness="times")
def nobody_stops_duplicates() -> None:
    """Each delivery runs the handler."""


@BUGS.plant(
    "effect-once",
    "lab.wiring.policy.Switches.inbox.strong",
    setup=KILLED_BEFORE_CONFIRMED,
    witness="times",
)
class InboxRowInItsOwnTransaction(Inbox):
    """First the effect is committed, then the `done` row: a crash in between forgets the row."""

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        group, event_id = delivery.group, delivery.event_id
        verdict = await self._store.commit(
            replace(unit, by=group, cause=event_id, lab_subject=delivery.subject)
        )
        if verdict is UnitVerdict.COMMITTED:
            return await super().settle(delivery, Unit())
        return verdict


@BUGS.plant(
    "effect-once",
    "lab.wiring.policy.Switches.inbox.strong",
    setup=Setup(),
    witness="its revenue was added",
)
class SettlesTwice(Inbox):
    """The framework commits at the end of a handler that has committed already."""

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        verdict = await super().settle(delivery, unit)
        if verdict is UnitVerdict.COMMITTED:
            await super().save(delivery, unit)
        return verdict


@BUGS.plant(
    "effect-once",
    "lab.wiring.process.roles.Notification",
    setup=ERRORS,
    witness="its revenue was added",
)
class RevenueBeforeTheMail(Notification):
    """The revenue is saved in a transaction of its own, before the mail that can fail."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if isinstance(payload, OrderConfirmed):
            revenue = Revenue(currency=payload.currency, amount_cents=payload.amount_cents)
            subject = context.envelope.lab_subject
            await context.save(Unit(lab_subject=subject, revenue=revenue))
        await super().on_news(payload, _WithoutRevenue(context))


class _WithoutRevenue(Context):
    def __init__(self, inner: Context) -> None:
        self.envelope = inner.envelope
        self.attempt = inner.attempt
        self.redrives = inner.redrives
        self.deadline_us = inner.deadline_us
        self._inner = inner

    async def save(self, unit: Unit) -> UnitVerdict:
        return await self._inner.save(unit)

    async def settle(self, unit: Unit) -> UnitVerdict:
        return await self._inner.settle(replace(unit, revenue=None))


@BUGS.plant(
    "effect-once",
    "lab.wiring.policy.Switches.provider_key.strong",
    setup=Setup(faults=("svc.hang_after_effect@mailer#every10 first=1",)),
    witness="mails for",
)
class MailKeyPerAttempt(KeyPerIntent):
    """The mailer's key holds the number of the attempt."""

    def of_mail(self, event_id: str, attempt: int) -> str:
        return f"{event_id}:{attempt}"


@BUGS.plant(
    "effect-once",
    "lab.wiring.process.roles.Notification",
    setup=Setup(),
    witness="OrderConfirmed was handled, and no revenue was added",
)
class RevenueForgotten(Notification):
    """The mail goes out, and the counter stays where it was."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        await super().on_news(payload, _WithoutRevenue(context))


@BUGS.plant(
    "effect-once",
    "lab.wiring.process.roles.Notification",
    setup=Setup(),
    witness="the revenue added is not the order's amount",
    falls={"as-ordered": "nor is it what the client asked for"},
)
class RevenueInAnotherCurrency(Notification):
    """All revenue is added up as euros."""

    async def on_news(self, payload: Payload, context: Context) -> None:
        if isinstance(payload, OrderConfirmed):
            payload = replace(payload, currency="QQQ")
        await super().on_news(payload, context)


# ---- ack-after-effect


@BUGS.plant(
    "ack-after-effect",
    "lab.wiring.policy.Switches.inbox.strong",
    setup=Setup(),
    witness="as handled before anything was durable",
)
class CommitInTheBackground(Inbox):
    """The transaction is committed by a task; the handler returns, and the record is acked."""

    async def settle(self, delivery: Delivery, unit: Unit) -> UnitVerdict:
        in_background(super().settle(delivery, unit))
        return UnitVerdict.COMMITTED


@BUGS.plant(
    "ack-after-effect",
    "lab.wiring.policy.Switches.dead_letter.strong",
    setup=Setup(scenario="poison-message", orders=150),
    witness="as dead before anything was durable",
    falls={
        "no-lost-event": "the record is acknowledged, and nobody comes back to it",
        "converges": "nothing says that its order is parked",
    },
)
class DropsWhatIsDead(DeadLetters):
    """What cannot be handled is logged and acknowledged."""

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> Settlement:  # noqa: ARG002 - the shape of what it replaces
        return Ack("dead")


@BUGS.plant(
    "ack-after-effect",
    "lab.wiring.policy.Switches.retry.strong",
    setup=ERRORS,
    witness="before anything was durable",
    falls={
        "no-lost-event": "the record is acknowledged, and nobody comes back to it",
        "converges": "its order waits for ever",
    },
)
class ParkedNowhere(Retrying):
    """The retry topic does not exist, and what the producer says about it is thrown away."""

    async def _again(self, delivery: Delivery, error: LabError) -> Settlement:  # noqa: ARG002 - the shape of what it replaces
        return Ack("parked")


# ---- per-key-order


@BUGS.plant("per-key-order", setup=ERRORS, off=("key_lanes",), witness="after change")
def no_key_lanes() -> None:
    """Retry topics without a lock: a later event of the order overtakes."""


@BUGS.plant(
    "per-key-order",
    "lab.stores.memory.store.KeyRetryTable",
    setup=THROUGH_TIERS,
    witness="after change",
)
class LockThatNobodyAsks(KeyRetryTable):
    """A failed event locks its key, and later ones run without asking for the lock."""

    def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:  # noqa: ARG002 - the shape of what it replaces
        return Arrival.FREE, None


@BUGS.plant(
    "per-key-order",
    "lab.wiring.process.chain._limits",
    setup=Setup(orders=60, faults=("svc.timeout@mailer#every3 first=1",)),
    witness="after change",
)
def lanes_by_record(policy: Any) -> Limits:
    """Any free worker takes the next record, whosever it is."""
    limits = _limits(policy)
    return Limits(
        ordering=Ordering.NONE,
        workers=limits.workers,
        max_in_flight=limits.max_in_flight,
        max_uncommitted=limits.max_uncommitted,
        commit_every=limits.commit_every,
        commit_after_us=limits.commit_after_us,
        revoke_us=limits.revoke_us,
    )
