"""Bugs about dead letters: changed on the way, told lies about, published nowhere."""

import json
from typing import Final

from msgspec.structs import replace

from lab.domain.envelope import with_headers
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters
from lab.ports.bus import DeadLetter, Delivery, Settlement
from lab.ports.store import Verdict
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

POISON: Final = Setup(scenario="poison-message", orders=100)
REFUSED: Final = Setup(orders=40, faults=("svc.error@mailer#every20 first=1 status=400",))


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.chain.DeadLetterQueue",
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
    "lab.wiring.chain.DeadLetterQueue",
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
    "lab.wiring.chain.DeadLetters",
    setup=POISON,
    witness="and the event is not dead in",
    falls={
        "no-lost-event": "the letter alone is no outcome: nothing is committed",
        "converges": "its order is not parked",
    },
)
class LetterWithoutAnOutcome(DeadLetters):
    """The letter is published and the record acknowledged; the store hears nothing of it."""

    async def _commit(self, delivery: Delivery) -> Verdict:  # noqa: ARG002
        return Verdict.COMMITTED


@BUGS.plant(
    "dlq-sound",
    "lab.wiring.chain.DeadLetters",
    setup=REFUSED,
    witness="a dead letter tells of 6 attempts; 1 were seen",
)
class AttemptsByThePolicy(DeadLetters):
    """The letter says how many attempts there may be, not how many there were."""

    async def bury(self, delivery: Delivery, dead: DeadLetter) -> Settlement:
        delivery.attempt = 6
        return await super().bury(delivery, dead)


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
    "lab.wiring.chain.DeadLetterQueue",
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
def one_queue_for_all(topic: str, group: str) -> str:  # noqa: ARG001
    """All groups share one dead-letter queue, so nobody knows who gave up."""
    return "orders.notification.dlq"
