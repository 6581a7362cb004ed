"""Redrive: a dead letter goes back to its own group, once the cause of its death was mended.

A certificate is wrong for an hour, and a hundred orders stand in the dead-letter queue. Somebody
copies them back into the main topic: three groups that had handled them long ago get them again, a
later state is overtaken by an earlier one, and an event that dies again dies under the same name.

The rule: a letter goes to `<topic>.<group>.retry`, which only its group reads, with fresh attempts
and starts and one more `lab-redrives`, three times at most. Its dead outcome yields to that number,
once. A discard is a record there too, so that the worker which owns the key carries it out: the
rows behind a dead head go on. That topic tells which letters were sent back: nobody sends the same
one back twice, and if somebody does, the second one finds an outcome.

There is no weak part: off, nobody looks. Not here: the handling of such a record (`key_lanes`,
`inbox`), and the question about an open intent that comes before it (`lab.services.payment`).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from lab.domain.content_mode import event_id_of, event_type_of
from lab.domain.envelope import (
    H_DISCARD,
    H_ORIGIN,
    H_REDRIVES,
    H_SUBJECT,
    LETTER,
    header,
    header_int,
    text_header,
)
from lab.domain.errors import Indeterminate, Transient
from lab.history.recorder import Write
from lab.patterns.dead_letter import H_LEFT_OUT, REPEATED
from lab.ports.bus import Outgoing, Publisher, Record, TopicReader, main_topic, retry_topic
from lab.ports.clock import Clock
from lab.ports.parking import origin_of, original, parked_headers

REDRIVES_MAX: Final = 3
"""How often one event may be sent back; after that it can only be discarded."""

REASONS: Final = ("poison", "permanent", "exhausted", "starts", "expired", REPEATED)
"""The reasons of a death."""

CANNOT_ASK: Final = frozenset({"notification"})
"""Groups whose third party does not tell what it has done: only its memory for keys helps."""

REDRIVEN: Final = "redriven"
DISCARDED: Final = "discarded"

_PROCESS: Final = "operator"
_TRIES: Final = 30
_AGAIN_US: Final = 1_000_000


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter that nobody has answered.

    Attributes:
        record: as it stood in its main topic, key, value and headers verbatim.
        subject: `ordinal.send` of its order in a lab run.
        reason: poison, permanent, exhausted, starts, expired, or `repeated` if only that is known.
        redrives: how often it had been sent back before it died.
        is_cut: its record was too large for the queue: the letter has a part of it only.
        is_foreign: a record that somebody else put there: where it came from is not told.
        starts: handler runs that had begun.
        place: of the letter itself, `topic/partition/offset`.
        died_us: wall time at which it was put there, by the broker.
        first_failure_us: wall time, of the first death if there were several; 0: it died at once.
        failures: the last ones, (wall us, class, message) each.
    """

    group: str
    record: Record
    event_id: str
    event_type: str
    subject: str
    reason: str
    error: str
    message: str
    attempts: int
    redrives: int
    is_cut: bool = False
    is_foreign: bool = False
    starts: int = 0
    place: str = ""
    died_us: int = 0
    first_failure_us: int = 0
    failures: tuple[tuple[int, str, str], ...] = ()

    @property
    def is_spent(self) -> bool:
        """It was sent back as often as may be, or there is too little of it to send back."""
        return self.is_cut or self.is_foreign or self.redrives >= REDRIVES_MAX

    @property
    def began_us(self) -> int:
        """Wall time of its first attempt, as far as it is known."""
        return self.first_failure_us or self.died_us

    def has_outlived_keys(self, *, now_us: int, lifetime_us: int) -> bool:
        """Whether what it did before it died may be done again: nobody knows its key any more.

        A gateway is asked about an open intent before anything is sent, however old it is. A mailer
        cannot be asked: it sends the same mail again.

        Args:
            now_us: wall time.
            lifetime_us: how long third parties remember a key.
        """
        return self.group in CANNOT_ASK and now_us - self.began_us > lifetime_us


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant; an empty field means any.

    Attributes:
        key: of its record, which is the id of its order.
        begins: the beginning of an event's id.
        died_before_us: wall time.
    """

    reason: str = ""
    event_type: str = ""
    subject: str = ""
    group: str = ""
    key: bytes = b""
    begins: str = ""
    died_before_us: int = 0

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            self.reason in ("", letter.reason)
            and self.event_type in ("", letter.event_type)
            and self.subject in ("", letter.subject)
            and self.group in ("", letter.group)
            and self.key in (b"", letter.record.key)
            and letter.event_id.startswith(self.begins)
            and (not self.died_before_us or letter.died_us < self.died_before_us)
        )


class Redrive:
    """Looks into dead-letter queues and sends letters back.

    Args:
        queues: the dead-letter queues that are looked into, `<topic>.<group>.dlq` each.
        reader: reads them whole.
        publisher: takes the records.
        clock: for the rate.
        rate: letters a second, so that a mended third party is not run over at once.
        write: takes the entries of the history, or None.
    """

    def __init__(
        self,
        *,
        queues: Sequence[str],
        reader: TopicReader,
        publisher: Publisher,
        clock: Clock,
        rate: float,
        write: Write | None,
    ) -> None:
        self._queues = tuple(queues)
        self._reader = reader
        self._publisher = publisher
        self._clock = clock
        self._gap_us = int(1_000_000 / rate)
        # Whoever asks again soon must not be quicker than whoever asks once.
        self._next_us = 0
        self._write = write
        # Beside the records of the retry topics: a log may have been trimmed.
        self._answered: dict[tuple[str, str], int] = {}

    async def letters(self, wanted: Wanted | None = None) -> list[Letter]:
        """The letters that nobody has answered, one an event, queue by queue in their order.

        Raises:
            Transient: the broker was not reached.
        """
        # All at once: a broker takes about as long for many topics as for one.
        newest: dict[str, dict[str, Letter]] = {queue: {} for queue in self._queues}
        for record in await self._reader.read(*self._queues):
            letter, known = read_letter(record), newest[record.topic]
            known[letter.event_id] = _later(letter, known.get(letter.event_id))
        filled = [queue for queue, letters in newest.items() if letters]
        if filled:
            await self._read_answers(filled)
        return [
            letter
            for letters in newest.values()
            for letter in letters.values()
            if self._answered.get((letter.group, letter.event_id), 0) <= letter.redrives
            and (wanted is None or wanted.takes(letter))
        ]

    async def redrive(
        self, letters: Sequence[Letter], *, is_dry_run: bool = False
    ) -> tuple[Letter, ...]:
        """Send letters back to their groups, in the order given; returns those that went.

        Spent ones are left out. A dry run publishes nothing and returns the same.

        Raises:
            LabError: the broker could not be reached, or not for long enough; letters sent until
                then are sent, and asking again sends the rest.
        """
        going = tuple(letter for letter in letters if not letter.is_spent)
        return going if is_dry_run else await self._answer_all(going, REDRIVEN)

    async def discard(
        self, letters: Sequence[Letter], *, is_dry_run: bool = False
    ) -> tuple[Letter, ...]:
        """Give letters up: their events stay dead, and the events behind them go on.

        Foreign ones are left out: no group waits for an answer to them. Raises as `redrive`.
        """
        going = tuple(letter for letter in letters if not letter.is_foreign)
        return going if is_dry_run else await self._answer_all(going, DISCARDED)

    async def _answer_all(self, letters: Sequence[Letter], answer: str) -> tuple[Letter, ...]:
        for letter in letters:
            left_us = self._next_us - self._clock.now_us()
            if left_us > 0:
                await self._clock.sleep_us(left_us)
            await self._publish(to_record(letter, is_discard=answer == DISCARDED))
            self._next_us = self._clock.now_us() + self._gap_us
            redrives = letter.redrives + 1
            self._answered[letter.group, letter.event_id] = redrives
            if self._write is not None:
                self._write(
                    (
                        "redriven",
                        self._clock.now_us(),
                        _PROCESS,
                        letter.subject,
                        letter.group,
                        letter.event_id,
                        answer,
                        redrives,
                    )
                )
        return tuple(letters)

    async def _publish(self, record: Outgoing) -> None:
        """Publish until it is known to be published: a second copy finds an outcome."""
        for _ in range(_TRIES - 1):
            try:
                await self._publisher.publish((record,))
            except (Transient, Indeterminate):
                await self._clock.sleep_us(_AGAIN_US)
            else:
                return
        await self._publisher.publish((record,))

    async def _read_answers(self, queues: Sequence[str]) -> None:
        names = [queue.split(".") for queue in queues]
        topics = [retry_topic(topic, group, 0) for topic, group, _ in names]
        for record in await self._reader.read(*topics):
            event = (record.topic.split(".")[1], _event_id(record))
            redrives = header_int(record.headers, H_REDRIVES)
            self._answered[event] = max(redrives, self._answered.get(event, 0))


def read_letter(record: Record) -> Letter:
    """The letter in a record of a dead-letter queue; a part that is missing is "" or 0."""
    headers = record.headers

    def told(name: str) -> str:
        return text_header(headers, LETTER + name)

    kept = tuple(pair for pair in headers if not pair[0].startswith(LETTER))
    origin = header(headers, LETTER + "origin")
    if origin is not None:
        kept = (*kept, (H_ORIGIN, origin))
    given = msgspec.structs.replace(record, headers=kept)
    return Letter(
        group=record.topic.split(".")[1],
        record=original(given),
        event_id=_event_id(given),
        event_type=event_type_of(headers, record.value),
        subject=text_header(headers, H_SUBJECT),
        reason=told("reason"),
        error=told("class"),
        message=told("message"),
        attempts=header_int(headers, LETTER + "attempts"),
        redrives=header_int(headers, H_REDRIVES),
        is_cut=header(headers, H_LEFT_OUT) is not None,
        is_foreign=origin is None,
        starts=header_int(headers, f"{LETTER}starts"),
        place=f"{record.topic}/{record.partition}/{record.offset}",
        died_us=record.timestamp_us,
        first_failure_us=header_int(headers, f"{LETTER}first-failure"),
        failures=_failures(header(headers, f"{LETTER}attempt-log") or b""),
    )


def to_record(letter: Letter, *, is_discard: bool) -> Outgoing:
    """The record that sends a letter back to its group, or gives it up."""
    record = letter.record
    headers = parked_headers(
        record,
        group=letter.group,
        attempt=1,
        not_before_us=0,
        first_failure_us=0,
        redrives=letter.redrives + 1,
    )
    if is_discard:
        headers = (*headers, (H_DISCARD, b"1"))
    topic = retry_topic(main_topic(record.topic), letter.group, 0)
    return Outgoing(topic, record.key, record.value, headers)


def _failures(log: bytes) -> tuple[tuple[int, str, str], ...]:
    """The attempt log of a letter; nothing if it cannot be read."""
    try:
        return msgspec.json.decode(log, type=tuple[tuple[int, str, str], ...])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()


def _later(letter: Letter, known: Letter | None) -> Letter:
    """Of two letters of one event the one of the later death, or the first to say the reason.

    It remembers when the event was first tried.
    """
    if known is None:
        return letter
    says = (letter.redrives, letter.reason != REPEATED)
    chosen = letter if says > (known.redrives, known.reason != REPEATED) else known
    began_us = min(letter.began_us, known.began_us)
    return msgspec.structs.replace(chosen, first_failure_us=began_us)


def _event_id(record: Record) -> str:
    """As the worker knows the event: by its id, or by where it stood if it has none."""
    return event_id_of(record.headers, record.value) or origin_of(record)
