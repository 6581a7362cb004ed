"""Redrive: which letters are open, what is sent for them, and to whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from lab.domain.envelope import header, header_int
from lab.domain.errors import Indeterminate, LabError, Permanent, Transient
from lab.history.calls import RedrivenEntry
from lab.history.entries import time_of
from lab.patterns.dead_letter import DeadLetterQueue
from lab.patterns.redrive import Letter, Redrive, Wanted, read_letter, to_record
from lab.ports.bus import DeadLetter, Outgoing, Record, TopicReader
from lab.ports.clock import Clock
from lab.ports.parking import is_discard, original
from lab.scenarios.operator import ScriptedOperator
from lab.stores.memory.base import crossing
from tests.kit.chain_parts import (
    GROUP,
    SECOND,
    Entries,
    Log,
    make_delivery,
    make_pen,
    make_record,
)
from tests.kit.entries import of_type
from tests.kit.stepping import at_once

DLQ = "orders.notification.dlq"
BACK = "orders.notification.retry"


@dataclass
class Topics(TopicReader):
    """Topics of one partition; a reader and the log that it reads are one."""

    log: Log
    down: bool = False
    read_topics: list[str] = field(default_factory=list)

    async def read(self, *topics: str) -> Sequence[Record]:
        await crossing()
        self.read_topics += topics
        if self.down:
            raise Transient("broker")
        return [
            Record(topic, 0, offset, sent.key, sent.value, sent.headers, 0)
            for topic in topics
            for offset, sent in enumerate(
                [record for record in self.log.records if record.topic == topic]
            )
        ]


class Waits(Clock):
    """A clock that is moved by whoever sleeps."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us

    async def sleep_us(self, us: int) -> None:
        self.us += us


class Bench:
    """A redrive over one queue, and the dead-letter queue that fills it."""

    def __init__(self, *failures: LabError, rate: float = 50) -> None:
        self.log = Log()
        self.failing = Log(*failures)
        self.failing.records = self.log.records
        self.clock = Waits()
        self.entries = Entries()
        self.topics = Topics(self.log)
        self.queue = DeadLetterQueue(
            publisher=self.log, group=GROUP, pen=make_pen(self.clock.now_us)
        )
        self.redrive = Redrive(
            queues=[DLQ],
            reader=self.topics,
            publisher=self.failing,
            clock=self.clock,
            rate=rate,
            write=self.entries.write,
        )

    def die(
        self,
        event_id: str = "e1",
        *,
        reason: str = "permanent",
        redrives: int = 0,
        record: Record | None = None,
    ) -> None:
        given = record or make_record(event_id, offset=7)
        delivery = make_delivery(event_id, record=given, redrives=redrives, attempt=3)
        at_once(self.queue.publish(delivery, DeadLetter(reason, "Permanent", "400")))

    def letters(self, wanted: Wanted | None = None) -> list[Letter]:
        return at_once(self.redrive.letters(wanted))

    def send_back(self, letters: Sequence[Letter]) -> tuple[Letter, ...]:
        return at_once(self.redrive.redrive(letters))

    @property
    def sent(self) -> list[Outgoing]:
        return [record for record in self.log.records if record.topic == BACK]


def test_a_letter_says_what_died_of_what_and_holds_its_record_as_it_stood() -> None:
    bench = Bench()
    record = make_record("e1", offset=7, value=b"\x00\xff")
    bench.die(record=record)

    (letter,) = bench.letters()

    assert (letter.group, letter.event_id, letter.event_type) == (GROUP, "e1", "OrderCancelled")
    assert (letter.reason, letter.error, letter.message) == ("permanent", "Permanent", "400")
    assert (letter.subject, letter.attempts, letter.redrives) == ("1.1", 3, 0)
    assert replace(letter.record, timestamp_us=0) == replace(record, timestamp_us=0)


def test_what_is_sent_back_goes_to_its_group_verbatim_with_one_more_redrive() -> None:
    bench = Bench()
    record = make_record("e1", offset=7)
    bench.die(record=record)

    bench.send_back(bench.letters())

    (sent,) = bench.sent
    assert (sent.key, sent.value) == (record.key, record.value)
    headers = sent.headers
    assert [header_int(headers, f"lab-{name}") for name in ("attempt", "redrives")] == [1, 1]
    assert [header_int(headers, f"lab-{name}") for name in ("not-before", "first-failure")] == [
        0,
        0,
    ]
    assert header(headers, "lab-group") == b"notification"
    assert not [name for name, _ in headers if name.startswith("lab-dlq-")]
    stood = original(Record(sent.topic, 3, 99, sent.key, sent.value, headers, 0))
    assert replace(stood, timestamp_us=0) == replace(record, timestamp_us=0)
    assert bench.entries.of("redriven") == [(GROUP, "e1", "redriven", 1)]


def test_a_letter_that_was_answered_is_open_no_more_whoever_answered_it() -> None:
    bench = Bench()
    bench.die()
    bench.send_back(bench.letters())
    later = Bench()
    later.log.records += bench.log.records

    assert bench.letters() == later.letters() == []


def test_an_event_that_died_again_is_open_again_once() -> None:
    bench = Bench()
    bench.die()
    bench.send_back(bench.letters())
    bench.die(redrives=1)

    (letter,) = bench.letters()

    assert letter.redrives == 1
    bench.send_back([letter])
    assert [header_int(each.headers, "lab-redrives") for each in bench.sent] == [1, 2]
    assert bench.letters() == []


def test_of_several_copies_of_a_letter_the_one_that_knows_the_reason_is_shown() -> None:
    for reasons in (("repeated", "poison"), ("poison", "repeated"), ("poison", "repeated", "x")):
        bench = Bench()
        for reason in reasons:
            bench.die(reason=reason)

        assert [each.reason for each in bench.letters()] == ["poison"]


def test_a_late_copy_of_a_letter_does_not_hide_the_last_death() -> None:
    bench = Bench()
    bench.die(redrives=1)
    bench.die(redrives=0, reason="repeated")

    assert [each.redrives for each in bench.letters()] == [1]


def test_letters_are_chosen_by_reason_type_and_subject() -> None:
    bench = Bench()
    bench.die("e1", reason="poison")
    bench.die("e2", reason="permanent")
    other = make_record("e3", event_type="OrderCreated", lab_subject=b"2.1")
    bench.die("e3", record=other)

    def chosen(wanted: Wanted) -> list[str]:
        return [each.event_id for each in bench.letters(wanted)]

    assert chosen(Wanted()) == ["e1", "e2", "e3"]
    assert chosen(Wanted(reason="permanent")) == ["e2", "e3"]
    assert chosen(Wanted(event_type="OrderCreated")) == ["e3"]
    assert chosen(Wanted(reason="permanent", subject="1.1")) == ["e2"]


def test_a_dry_run_says_what_would_go_and_sends_nothing() -> None:
    bench = Bench()
    bench.die()
    letters = bench.letters()

    would_go = at_once(bench.redrive.redrive(letters, is_dry_run=True))
    would_be_lost = at_once(bench.redrive.discard(letters, is_dry_run=True))

    assert would_go == would_be_lost == tuple(letters)
    assert (bench.sent, list(bench.entries)) == ([], [])
    assert bench.letters() == letters


def test_nothing_is_sent_back_more_than_three_times_and_can_still_be_discarded() -> None:
    bench = Bench()
    bench.die(redrives=3)
    letters = bench.letters()

    assert bench.send_back(letters) == ()
    assert bench.sent == []
    assert at_once(bench.redrive.discard(letters)) == tuple(letters)
    (sent,) = bench.sent
    assert header(sent.headers, "lab-discard") == b"1"
    assert is_discard(Record(sent.topic, 0, 0, sent.key, sent.value, sent.headers, 0))
    assert bench.letters() == []
    assert bench.entries.of("redriven") == [(GROUP, "e1", "discarded", 4)]


def test_letters_go_back_no_faster_than_the_rate() -> None:
    bench = Bench(rate=0.5)
    for number in range(5):
        bench.die(f"e{number}")

    bench.send_back(bench.letters())

    assert [time_of(entry) for entry in bench.entries] == [n * 2 * SECOND for n in range(5)]


def test_whoever_asks_again_at_once_is_no_faster_than_the_rate() -> None:
    bench = Bench(rate=0.5)
    for number in range(3):
        bench.die(f"e{number}")
        bench.send_back(bench.letters())

    assert [time_of(entry) for entry in bench.entries] == [n * 2 * SECOND for n in range(3)]


def test_what_may_not_have_arrived_is_sent_again() -> None:
    bench = Bench(Transient("broker"), Indeterminate("answer lost"))
    bench.die()

    assert len(bench.send_back(bench.letters())) == 1
    assert len(bench.sent) == 1
    assert bench.clock.us == 2 * SECOND


def test_the_thirtieth_try_may_still_arrive() -> None:
    bench = Bench(*[Transient("broker")] * 29)
    bench.die()

    bench.send_back(bench.letters())

    assert len(bench.sent) == 1
    assert bench.clock.us == 29 * SECOND


def test_all_queues_are_looked_into_also_behind_an_empty_one() -> None:
    bench = Bench()
    bench.redrive._queues = ("payments.notification.dlq", DLQ, "shipments.notification.dlq")
    bench.die("e1")
    bench.die("e2", record=make_record("e2", topic="shipments"))

    assert [each.event_id for each in bench.letters()] == ["e1", "e2"]


def test_an_old_answer_that_is_read_after_a_newer_one_opens_nothing_again() -> None:
    bench = Bench()
    bench.die(redrives=1)
    (letter,) = bench.letters()
    bench.send_back([letter])
    bench.send_back([replace(letter, redrives=0)])
    bench.redrive._answered.clear()

    assert [header_int(each.headers, "lab-redrives") for each in bench.sent] == [2, 1]
    assert bench.letters() == []


def test_what_was_not_sent_back_by_an_operator_answers_no_letter() -> None:
    bench = Bench()
    bench.die()
    record = make_record("e1")
    bench.log.records.append(Outgoing(BACK, record.key, record.value, record.headers))

    assert [each.event_id for each in bench.letters()] == ["e1"]


def test_a_letter_that_could_not_be_sent_is_still_open() -> None:
    for failures in ([Permanent("no such topic")], [Transient("broker")] * 30):
        bench = Bench(*failures)
        bench.die()

        with pytest.raises(LabError):
            bench.send_back(bench.letters())

        assert bench.entries == []
        assert len(bench.letters()) == 1


def test_a_record_without_an_id_is_known_by_where_it_stood() -> None:
    bench = Bench()
    record = make_record("e1", offset=7)
    record = replace(record, headers=tuple(pair for pair in record.headers if pair[0] != "ce_id"))
    bench.die("orders/0/7", record=record)

    (letter,) = bench.letters()
    bench.send_back([letter])

    assert letter.event_id == "orders/0/7"
    assert bench.letters() == []


def test_a_letter_out_of_nowhere_can_be_read() -> None:
    letter = read_letter(Record(DLQ, 0, 4, b"k", b"v", (), 0))

    assert (letter.reason, letter.attempts, letter.redrives) == ("", 0, 0)
    assert to_record(letter, is_discard=False).topic == BACK


# ---- the scripted operator


def operator(bench: Bench, *, redrives: int, discards: str = "no") -> ScriptedOperator:
    return ScriptedOperator(bench.redrive, redrives=redrives, discards=discards, every_us=0)


def answers(bench: Bench) -> list[tuple[str, int]]:
    answered = of_type(bench.entries, RedrivenEntry)
    return [(entry.answer, entry.redrives) for entry in answered]


def test_an_operator_sends_back_so_often_and_then_discards() -> None:
    bench = Bench()
    script = operator(bench, redrives=2, discards="yes")
    looks = []
    for death in range(3):
        bench.die(redrives=death)
        looks.append(at_once(script.look(is_last=True)))

    assert looks == [True, True, True]
    assert answers(bench) == [("redriven", 1), ("redriven", 2), ("discarded", 3)]
    assert not at_once(script.look(is_last=True)), "there is nothing left to be done"


def test_an_operator_gives_nothing_up_while_faults_last_or_if_it_is_not_told_to() -> None:
    bench = Bench()
    bench.die(redrives=1)

    assert not at_once(operator(bench, redrives=1, discards="yes").look(is_last=False))
    assert not at_once(operator(bench, redrives=1).look(is_last=True))
    assert answers(bench) == []


def test_an_operator_that_cannot_reach_the_broker_looks_again() -> None:
    bench = Bench()
    bench.die()
    script = operator(bench, redrives=1)
    bench.topics.down = True

    assert at_once(script.look(is_last=True))
    bench.topics.down = False
    assert at_once(script.look(is_last=True))
    assert answers(bench) == [("redriven", 1)]


def test_what_somebody_else_put_into_a_queue_is_no_letter_to_answer() -> None:
    bench = Bench()
    bench.die("e1")
    (ours,) = bench.letters()
    at_once(bench.log.publish((Outgoing(DLQ, b"k", b"junk", ()),)))

    letters = bench.letters()

    assert [one.is_foreign for one in letters] == [False, True]
    assert letters[1].is_spent
    assert [one.event_id for one in bench.send_back(letters)] == [ours.event_id]
    assert at_once(bench.redrive.discard(letters[1:])) == ()


def test_a_letter_remembers_when_its_event_was_first_tried() -> None:
    bench = Bench()
    bench.die("e1")
    (first,) = bench.letters()
    bench.clock.us = 5_000_000
    bench.send_back([first])
    bench.die("e1", redrives=1)

    (again,) = bench.letters()

    assert (again.redrives, again.began_us) == (1, first.began_us)
