"""Bugs about dead letters: changed on the way, told lies about, published nowhere, sent astray."""

import json
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from lab.domain.envelope import with_headers
from lab.domain.errors import LabError, Transient
from lab.domain.events import READS, topics_of
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters
from lab.patterns.inbox import Inbox
from lab.patterns.key_lanes import AGAIN, KeyLanes
from lab.patterns.redrive import Letter, Redrive, to_record
from lab.patterns.retry import Retrying
from lab.ports.bus import Ack, DeadLetter, Delivery, Handle, Outgoing, Settlement, retry_topic
from lab.ports.key_retry import HeadRun, WaitingRow, key_of, row_of
from lab.ports.parking import is_discard
from lab.ports.store import Unit, UnitVerdict
from lab.services.payment import Payment
from lab.stores.memory.key_retry import KeyRetryTable
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

POISON: Final = Setup(scenario="poison-message", orders=100)
REDRIVEN: Final = Setup(scenario="dlq-redrive", orders=100)
ALL_REDRIVEN: Final = Setup(scenario="dlq-redrive", orders=None)
DEAD_HEADS: Final = (
    "svc.error@mailer#every20 first=3",
    "svc.error@mailer#every20 nth=4 status=400",
)
SENT_BACK: Final = Setup(orders=40, faults=DEAD_HEADS, settings=(("operator.redrives", 1),))
DISCARDED: Final = Setup(orders=40, faults=DEAD_HEADS, settings=(("operator.discards", "yes"),))
HEADS: Final = Setup(orders=40, faults=DEAD_HEADS)
REFUSED: Final = Setup(orders=40, faults=("svc.error@mailer#every20 first=1 status=400",))

FAILING: Final = Setup(orders=40, faults=("svc.error@mailer#every20 first=1",))


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=POISON,
    witness="is not the record that stands in",
)
class ValueEncodedAgain(DeadLetterQueue):
    """The dead letter is JSON, so the value that is none is put into a string."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        value = json.dumps({"value": delivery.record.value.decode(errors="replace")}).encode()
        wrong = replace(delivery, record=replace(delivery.record, value=value))
        await super().publish(wrong, dead)


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=POISON,
    witness="is not the record that stands in",
)
class TimeOfDeath(DeadLetterQueue):
    """The time of the event is overwritten by the time of its death."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        record = delivery.record
        headers = with_headers(record.headers, ce_time=b"2000-01-01T00:00:00.000000Z")
        headers = (*headers, ("ce_time", b"2000-01-01T00:00:00.000000Z"))
        await super().publish(replace(delivery, record=replace(record, headers=headers)), dead)


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.policy.Switches.dead_letter.strong",
    setup=POISON,
    witness="and the event is not dead in",
    falls={
        "no-lost-event": "the letter alone is no outcome: nothing is committed",
        "converges": "its order is not parked",
    },
)
class LetterWithoutAnOutcome(DeadLetters):
    """The letter is published and the record acknowledged; the store hears nothing of it."""

    async def _commit(self, delivery: Delivery) -> UnitVerdict:  # noqa: ARG002 - the shape of what it replaces
        return UnitVerdict.COMMITTED


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.policy.Switches.dead_letter.strong",
    setup=REFUSED,
    witness="a dead letter tells of 6 attempts; 1 were seen",
)
class AttemptsByThePolicy(DeadLetters):
    """The letter says how many attempts there may be, not how many there were."""

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> Settlement:
        delivery.attempt = 6
        return await super().bury(delivery, dead)


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.policy.Switches.retry.strong",
    setup=FAILING,
    witness="a dead letter says permanent, and the runs of its event ended otherwise: Transient",
    falls={"excuse-earned": "a 503 is no refusal for good"},
)
class RefusedForGood(Retrying):
    """Every status but 200 counts as a refusal for good, so a 503 kills an order at once."""

    async def _failed(self, delivery: Delivery, error: LabError) -> Settlement:
        if isinstance(error, Transient):
            return DeadLetter("permanent", "Permanent", str(error))
        return await super()._failed(delivery, error)


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.process.roles.Payment",
    setup=Setup(
        orders=40,
        faults=(
            "client.cancel#every20 first=1 after=1500ms",
            "svc.hang_after_effect@payment_gateway#every20 first=1",
            "svc.refuse_refund#every20 first=1",
        ),
    ),
    witness="its refund was given up, and it is REFUND_PENDING without having",
)
class RefundIsForgotten(Payment):
    """A refund that cannot be made is put aside like any other event: its order says nothing."""

    async def on_dead(self, order_id: str, event_type: str) -> Unit:
        if event_type == "RefundRequested":
            return Unit(order_id=order_id)
        return await super().on_dead(order_id, event_type)


@BUGS.plant(
    "dlq-complete",
    setup=POISON,
    off=("dead_letter",),
    witness="beyond its attempts",
    falls={
        "converges": "the record is tried for ever, and its order is not parked",
        "drains": "what lies behind it is never committed",
    },
)
def no_dead_letters() -> None:
    """What nobody can handle is tried at the head of its lane for ever."""


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=POISON,
    witness="and in no DLQ of it",
)
class LetterThatIsNotSent(DeadLetterQueue):
    """The producer buffers, and nobody flushes it."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        """Nothing is sent."""


@BUGS.plant(
    "dlq-complete",
    "lab.patterns.dead_letter.dead_letter_topic",
    setup=POISON,
    witness="and in no DLQ of it",
    falls={"dlq-sound": "the letter stands in the queue of another group"},
)
def one_queue_for_all(topic: str, group: str) -> str:  # noqa: ARG001 - the shape of what it replaces
    """All groups share one dead-letter queue, so nobody knows who gave up."""
    return "orders.notification.dlq"


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.policy.Switches.inbox.strong",
    setup=REDRIVEN,
    witness=", and came to no end there",
)
class DeadForEver(Inbox):
    """A dead outcome yields to nothing, so what is sent back dies unheard."""

    def link(self, inner: Handle) -> Handle:
        sound = super().link(inner)

        async def inbox(delivery: Delivery) -> Settlement:
            return await sound(replace(delivery, redrives=0) if delivery.redrives else delivery)

        return inbox


@BUGS.plant(
    "dlq-complete",
    "lab.patterns.key_lanes.KeyLanes",
    setup=DISCARDED,
    witness="was discarded, and still stands in the rows of notification",
)
class DiscardThatIsOnlyHeard(KeyLanes):
    """A discard is acknowledged, and what waits behind the dead head waits for ever."""

    async def _on_alarm(self, alarm: Delivery) -> Settlement:
        return Ack("discarded") if is_discard(alarm.record) else await super()._on_alarm(alarm)


@BUGS.plant(
    "per-key-order",
    "lab.patterns.key_lanes.KeyLanes",
    setup=SENT_BACK,
    witness="notification handled change 1 after change 4 of topic orders",
)
class NothingWaitsForTheDead(KeyLanes):
    """A dead head is taken out of its rows, and those behind it overtake what is sent back."""

    async def _run_head(self, run: HeadRun) -> Settlement:
        settled = await super()._run_head(run)
        if settled == Ack("dead"):
            left = await self._store.finish(run.group, key_of(run.record), run.event_id)
            return settled if left is None else AGAIN
        return settled


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.policy.Switches.redrive.strong",
    setup=REDRIVEN,
    witness="which never gave it up",
    falls={"excuse-earned": "what a group never reads is no poison"},
)
class BackToEverybody(Redrive):
    """What one group gave up is sent to every group that reads its topic."""

    async def _publish(self, record: Outgoing) -> None:
        topic, group, _ = record.topic.split(".")
        for other in READS:
            everybody = other == group or topic in topics_of(other)
            if everybody:
                await super()._publish(replace(record, topic=retry_topic(topic, other, 0)))


@BUGS.plant(
    "dlq-sound",
    "lab.patterns.redrive.to_record",
    setup=REDRIVEN,
    witness="is not the record that stands in",
    falls={
        "log-sound": "in the retry topic the event has other bytes",
        "handler-input": "and so it comes to the handler",
    },
)
def sent_back_as_new(letter: Letter, *, is_discard: bool) -> Outgoing:
    """What is sent back is made anew, with the time of today."""
    sent = to_record(letter, is_discard=is_discard)
    headers = tuple(pair for pair in sent.headers if pair[0] != "ce_time")
    return replace(sent, headers=(*headers, ("ce_time", b"2000-01-01T00:00:00.000000Z")))


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=REDRIVEN,
    witness="tells of death 2 of",
    falls={"dlq-sound": "the letter of a second death has too few attempts for a first one"},
)
class LetterOfTheFirstDeath(DeadLetterQueue):
    """A letter is made of the record as it first came: nobody can tell one death from the next."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        await super().publish(replace(delivery, redrives=0), dead)


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=HEADS,
    witness="a dead letter tells of 1 attempts; 4 were made",
)
class LetterCountsFromOne(DeadLetterQueue):
    """A letter tells of the attempts of this delivery, not of those of its event."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        await super().publish(replace(delivery, attempt=1), dead)


@BUGS.plant(
    "retry-law",
    "lab.wiring.process.chain.DeadLetterQueue",
    setup=REFUSED,
    witness="up after attempt 1 of 6",
)
class LetterBlamesRetries(DeadLetterQueue):
    """Every letter says that the attempts were used up."""

    async def publish(self, delivery: Delivery, dead: DeadLetter) -> None:
        await super().publish(delivery, replace(dead, reason="exhausted"))


@BUGS.plant(
    "dlq-complete", setup=REDRIVEN, off=("redrive",), witness="no operator has answered its letter"
)
def nobody_looks() -> None:
    """There is a queue for dead letters, an alert for it, and nobody who reads either."""


@BUGS.plant(
    "dlq-complete",
    "lab.wiring.policy.Switches.redrive.strong",
    setup=REDRIVEN,
    witness="no operator has answered its letter",
)
class ForgetsTheLastQueue(Redrive):
    """The list of the queues that are looked into was written before the last group was."""

    def __init__(self, *, queues: Sequence[str], **given: Any) -> None:
        super().__init__(queues=[one for one in queues if "notification" not in one], **given)


@BUGS.plant(
    "no-lost-event",
    "lab.stores.memory.store.KeyRetryTable",
    setup=ALL_REDRIVEN,
    witness="OrderConfirmed is left in notification's rows",
    falls={"converges": "what waited behind the dead head has no outcome"},
)
class DiscardTakesTheLock(KeyRetryTable):
    """With the dead head goes the lock, and with the lock all that waited behind it."""

    def discard(self, row: WaitingRow) -> bool:
        is_discarded = super().discard(row)
        self._keys.pop((row.group, row.key), None)
        return is_discarded


@BUGS.plant(
    "no-lost-event",
    "lab.patterns.key_lanes.KeyLanes",
    setup=ALL_REDRIVEN,
    witness="OrderConfirmed is left in notification's rows",
    falls={
        "converges": "what waited behind the dead head has no outcome",
        "drains": "its row stays for ever",
    },
)
class DiscardTellsNobody(KeyLanes):
    """The dead head is gone, and no alarm is published for the event that is the head now."""

    async def _on_alarm(self, alarm: Delivery) -> Settlement:
        if not is_discard(alarm.record):
            return await super()._on_alarm(alarm)
        await self._store.discard(row_of(alarm, attempts=0))
        return Ack("discarded")
