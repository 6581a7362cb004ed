"""Dead letters: committed, then published, then acknowledged; and not too many of them."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from zlib import crc32

import pytest
from msgspec.structs import replace

from lab.domain.envelope import header
from lab.domain.errors import Down, Indeterminate, LabError, TooLarge, Transient
from lab.domain.events import derived_id
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters, Limiter
from lab.ports.bus import (
    Ack,
    DeadLetter,
    Delivery,
    Outgoing,
    Release,
    Retry,
    record_bytes,
)
from lab.ports.store import Outcome, OutcomeRow, Revenue, Unit, UnitVerdict
from tests.kit.chain_parts import (
    GROUP,
    PROCESS,
    SECOND,
    Entries,
    Hand,
    Inner,
    Log,
    Stores,
    make_delivery,
    make_pen,
    make_record,
)
from tests.kit.stepping import at_once

DLQ = "orders.notification.dlq"
EXHAUSTED = DeadLetter("exhausted", "Transient", "503")


class Bench:
    """A dead-letter link over memory stores."""

    def __init__(self, *steps: Any, log: Log | None = None, in_a_row: int = 10) -> None:
        self.stores = Stores()
        self.log = log or Log()
        self.inner = Inner(*(steps or (EXHAUSTED,)))
        self.entries = Entries()
        self.on_dead = Unit(revenue=Revenue(currency="EUR", amount_cents=1))
        self.asked: list[tuple[str, str]] = []
        hand = self.stores.hand
        self.limiter = Limiter(
            in_a_row=in_a_row, share_percent=20, pause_us=60 * SECOND, now=hand.now_us
        )
        self.queue = DeadLetterQueue(
            publisher=self.log,
            group=GROUP,
            pen=make_pen(hand.now_us, self.entries),
        )
        self.link = DeadLetters(
            self.inner,
            queue=self.queue,
            store=self.stores.store.orders,
            on_dead=self._on_dead,
            reads=("OrderCancelled",),
            limiter=self.limiter,
            again_us=SECOND,
            pen=make_pen(hand.now_us, self.entries),
        )

    async def _on_dead(self, order_id: str, event_type: str) -> Unit:
        self.asked.append((order_id, event_type))
        return self.on_dead

    def run(self, event_id: str = "e1", **named: Any) -> Any:
        return at_once(self.link(make_delivery(event_id, **named)))

    def outcome(self, event_id: str = "e1") -> Any:
        return at_once(self.stores.store.orders.outcome(GROUP, event_id))


def headers_of(log: Log) -> dict[str, str]:
    return {
        name: value.decode()
        for name, value in log.records[-1].headers
        if name.startswith("lab-dlq-")
    }


def test_a_dead_letter_is_committed_with_the_services_unit_and_published_verbatim() -> None:
    bench = Bench()
    record = make_record(value=b"\x00\xff", lab_attempt=b"6")

    settled = bench.run(record=record, attempt=6)

    (sent,) = bench.log.records
    assert settled == Ack("dead")
    assert bench.outcome() == (Outcome.DEAD, 0)
    assert bench.stores.server.revenue == {"EUR": 1}
    assert bench.asked == [("order-1", "OrderCancelled")]
    assert bench.inner.seen[0].record is record
    assert (sent.topic, sent.key, sent.value) == (DLQ, b"order-1", b"\x00\xff")
    assert sent.headers[: len(record.headers)] == record.headers
    assert bench.entries == [
        ("buried", 0, PROCESS, "1.1", GROUP, "e1", "exhausted", 6, 0, 0),
    ]


def test_the_units_commit_says_who_gives_up_what_and_that_it_is_settled() -> None:
    bench = Bench()
    orders = bench.stores.store.orders
    commit, units = orders.commit, []

    async def noted(unit: Unit) -> UnitVerdict:
        units.append(unit)
        return await commit(unit)

    orders.commit = noted  # type: ignore[method-assign]  # in this test only

    bench.run(redrives=2)

    expected = replace(
        bench.on_dead,
        by=GROUP,
        cause="e1",
        settles=True,
        lab_subject="1.1",
        outcome=OutcomeRow(group=GROUP, event_id="e1", is_dead=True, redrives=2),
    )
    assert units == [expected]
    assert bench.outcome() == (Outcome.DEAD, 2)


def test_the_letter_of_a_redriven_head_says_how_often_it_was_sent_back() -> None:
    bench = Bench()

    bench.run(redrives=2)

    assert header(bench.log.records[0].headers, "lab-redrives") == b"2"


def test_the_service_is_asked_about_a_key_that_is_no_text() -> None:
    bench = Bench()

    bench.run(record=replace(make_record(), key=b"\xff-1"))

    assert bench.asked == [("\ufffd-1", "OrderCancelled")]


def test_a_dead_letter_says_why_and_how_often() -> None:
    bench = Bench()
    delivery = make_delivery(attempt=6)
    delivery.first_failure_us, delivery.starts = 11, 2
    delivery.failures = ((11, "Transient", "1"), (50, "Transient", "2"), (99, "Transient", "3"))

    at_once(bench.link(delivery))

    log = '[[11,"Transient","1"],[50,"Transient","2"],[99,"Transient","3"]]'
    assert headers_of(bench.log) == {
        "lab-dlq-id": derived_id("e1", GROUP, "dead-letter", 0),
        "lab-dlq-attempt-log": log,
        "lab-dlq-reason": "exhausted",
        "lab-dlq-class": "Transient",
        "lab-dlq-message": "503",
        "lab-dlq-attempts": "6",
        "lab-dlq-starts": "2",
        "lab-dlq-first-failure": "11",
        "lab-dlq-last-failure": "99",
        "lab-dlq-origin": "orders/0/0",
    }


def test_a_letter_of_what_never_failed_has_an_empty_log() -> None:
    bench = Bench()

    bench.run()

    headers = headers_of(bench.log)
    assert (headers["lab-dlq-last-failure"], headers["lab-dlq-attempt-log"]) == ("0", "[]")


class Narrow(Log):
    """A queue that takes so many bytes a record."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    async def publish(self, records: Sequence[Outgoing]) -> None:
        if any(record_bytes(record) > self.limit for record in records):
            raise TooLarge("a letter")
        await super().publish(records)


@pytest.mark.parametrize(
    ("key", "value", "foreign", "left_out"),
    [
        ("k", b"v" * 9_000, b"", "value"),
        ("k", b"v", b"h" * 9_000, "value, headers"),
        ("k" * 9_000, b"v", b"h" * 9_000, "value, headers, key"),
    ],
)
def test_a_letter_larger_than_its_queue_goes_without_what_does_not_fit_and_says_so(
    key: str, value: bytes, foreign: bytes, left_out: str
) -> None:
    bench = Bench(log=Narrow(4_000))
    record = make_record(key=key[:8], value=value, ce_foreign=foreign)
    record = replace(record, key=key.encode())

    settled = bench.run(record=record)

    (sent,) = bench.log.records
    told = headers_of(bench.log)
    assert settled == Ack("dead")
    assert (sent.value, sent.key) == (b"", b"" if "key" in left_out else b"k")
    assert told["lab-dlq-left-out"] == left_out
    assert told["lab-dlq-value-bytes"] == str(len(value))
    assert told["lab-dlq-value-sha256"] == sha256(value).hexdigest()
    assert (told["lab-dlq-reason"], told["lab-dlq-origin"]) == ("exhausted", "orders/0/0")
    assert header(sent.headers, "ce_id") == b"e1"
    assert (header(sent.headers, "ce-foreign") is None) == ("headers" in left_out)


def test_a_letter_that_fits_in_no_way_blocks_and_loses_nothing() -> None:
    bench = Bench(log=Narrow(10))

    assert bench.run() == Retry(SECOND, counts=False)
    assert bench.log.records == []


def test_its_id_is_the_same_however_often_and_another_after_a_redrive() -> None:
    ids = []
    for redrives in (0, 0, 1):
        bench = Bench()
        bench.run(redrives=redrives)
        ids.append(headers_of(bench.log)["lab-dlq-id"])

    assert ids[0] == ids[1] != ids[2]


def test_our_headers_stay_within_eight_kibibytes_whatever_the_errors_say() -> None:
    bench = Bench(DeadLetter("exhausted", "Transient", "\ud800é" * 5_000))
    delivery = make_delivery(attempt=6)
    delivery.failures = tuple((n, "Transient", "é" * 900) for n in range(10))

    at_once(bench.link(delivery))

    ours = [pair for pair in bench.log.records[0].headers if pair[0].startswith("lab-")]
    assert sum(len(name) + len(value) for name, value in ours) <= 8_192
    log = json.loads(headers_of(bench.log)["lab-dlq-attempt-log"])
    assert log
    assert log[-1][0] == 9


def test_the_log_keeps_as_many_of_the_last_failures_as_fit_to_the_byte() -> None:
    def letter(*messages: str) -> tuple[int, list[str]]:
        """Bytes of our headers, and the messages that were kept."""
        bench = Bench()
        record = make_record(lab_attempt=b"4" * 100, x=b"not ours" * 2_000)
        delivery = make_delivery(record=record)
        delivery.failures = tuple((1, "Transient", message) for message in messages)
        at_once(bench.link(delivery))
        ours = [pair for pair in bench.log.records[0].headers if pair[0].startswith("lab-")]
        log = json.loads(headers_of(bench.log)["lab-dlq-attempt-log"])
        return sum(len(name) + len(value) for name, value in ours), [each[2] for each in log]

    room, _ = letter("", "last")
    fits = "x" * (8_192 - room)

    assert letter(fits, "last") == (8_192, [fits, "last"])
    assert letter("first" * 2_000, fits, "last") == (8_192, [fits, "last"])
    assert letter(fits + "x", "last")[1] == ["last"]


def test_a_record_of_a_retry_topic_goes_to_the_queue_of_its_main_topic() -> None:
    bench = Bench()
    record = make_record(topic="orders.notification.retry.3", lab_origin=b"orders/2/17")

    bench.run(record=record)

    assert bench.log.topics == [DLQ]
    assert headers_of(bench.log)["lab-dlq-origin"] == "orders/2/17"


def test_nobody_is_asked_about_a_type_that_the_group_does_not_read() -> None:
    bench = Bench()

    assert bench.run(event_type="OrderTeleported") == Ack("dead")
    assert bench.asked == []


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Transient("broker"), Retry(SECOND, counts=False)),
        (Indeterminate("broker"), Retry(SECOND, counts=False)),
        (Down("broker", dependency="broker", after_us=3), Release("down", 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_publish_that_fails_blocks_and_loses_nothing(error: LabError, settlement: Any) -> None:
    bench = Bench(log=Log(error))

    assert bench.run() == settlement
    assert bench.entries.of("buried") == []
    assert bench.run() == Ack("dead")

    assert bench.log.topics == [DLQ]
    assert headers_of(bench.log)["lab-dlq-reason"] == "exhausted"
    assert len(bench.inner.seen) == 1, "the handler is not started again"
    assert bench.entries.of("buried") == [(GROUP, "e1", "exhausted", 1, 0, 0)]


def test_an_event_that_somebody_else_has_done_meanwhile_gets_no_letter() -> None:
    bench = Bench()
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(bench.stores.store.orders.commit(done))

    assert bench.run() == Ack("done")
    assert bench.log.records == []
    assert bench.outcome() == (Outcome.DONE, 0)


def test_a_conflict_asks_the_service_again() -> None:
    bench = Bench()
    orders = bench.stores.store.orders
    commit, conflicts = orders.commit, 3

    async def conflicting(unit: Unit) -> UnitVerdict:
        nonlocal conflicts
        conflicts -= 1
        return UnitVerdict.CONFLICT if conflicts >= 0 else await commit(unit)

    orders.commit = conflicting  # type: ignore[method-assign]  # in this test only

    assert bench.run() == Ack("dead")
    assert len(bench.asked) == 4


def test_endless_conflicts_are_given_back_without_an_attempt() -> None:
    bench = Bench()

    async def conflicting(unit: Unit) -> UnitVerdict:  # noqa: ARG001 - the port's shape
        return UnitVerdict.CONFLICT

    bench.stores.store.orders.commit = conflicting  # type: ignore[method-assign]  # in this test only

    assert bench.run() == Retry(SECOND, counts=False)
    assert bench.log.records == []


def test_a_letter_that_is_published_again_has_the_same_id() -> None:
    bench = Bench()
    bench.run()
    first = headers_of(bench.log)

    at_once(bench.queue.publish_again(make_delivery()))

    second = headers_of(bench.log)
    assert first["lab-dlq-id"] == second["lab-dlq-id"]
    assert second["lab-dlq-reason"] == "repeated"
    assert (second["lab-dlq-class"], second["lab-dlq-message"]) == ("", "")
    assert bench.entries[-1] == ("acted", 0, PROCESS, "1.1", "dead_letter", "repeated")


def test_a_letter_that_could_not_be_published_is_published_with_its_reason_by_whoever_does() -> (
    None
):
    bench = Bench(log=Log(Transient("broker")))
    assert bench.run() == Retry(SECOND, counts=False)

    at_once(bench.link.publish_again(make_delivery("e1")))

    assert headers_of(bench.log)["lab-dlq-reason"] == EXHAUSTED.reason
    assert [reason for _, _, reason, *_ in bench.entries.of("buried")] == [EXHAUSTED.reason]
    at_once(bench.link.publish_again(make_delivery("e1")))
    assert headers_of(bench.log)["lab-dlq-reason"] == "repeated"
    assert len(bench.entries.of("buried")) == 1


def test_a_letter_that_is_published_again_tells_of_the_last_failure() -> None:
    bench = Bench()
    delivery = make_delivery()
    delivery.failures = tuple((n, f"Error{n}", f"message {n}") for n in range(3))

    at_once(bench.queue.publish_again(delivery))

    headers = headers_of(bench.log)
    assert (headers["lab-dlq-class"], headers["lab-dlq-message"]) == ("Error2", "message 2")


def test_too_many_in_a_row_pause_the_subscription_and_the_one_too_many_is_not_lost() -> None:
    bench = Bench(in_a_row=2)

    assert [bench.run(f"e{n}") for n in range(2)] == [Ack("dead")] * 2
    assert bench.run("e2") == Release("dead_letters", 60 * SECOND)
    assert bench.outcome("e2") is None

    bench.stores.hand.us = 60 * SECOND
    assert bench.run("e2") == Ack("dead")
    assert len(bench.inner.seen) == 3, "its handler was not started again"
    assert bench.run("e3") == Release("dead_letters", 60 * SECOND)


def test_a_pause_lasts_to_its_last_microsecond_and_is_the_same_for_all() -> None:
    bench = Bench(in_a_row=1)
    bench.run("e0")
    bench.run("e1")

    bench.stores.hand.us = SECOND
    assert bench.run("e2") == Release("dead_letters", 59 * SECOND)
    bench.stores.hand.us = 60 * SECOND - 1
    assert bench.run("e3") == Release("dead_letters", 1)
    bench.stores.hand.us = 60 * SECOND
    assert bench.run("e1") == Ack("dead")


def test_a_dead_event_that_lacks_its_letter_is_not_held_back_by_the_limiter() -> None:
    bench = Bench(log=Log(Transient("broker")), in_a_row=1)
    assert bench.run("lacks its letter") == Retry(SECOND, counts=False)
    assert bench.run("e1") == Ack("dead")
    assert bench.run("e2") == Release("dead_letters", 60 * SECOND)

    assert bench.run("lacks its letter") == Ack("dead")
    assert bench.run("e2") == Release("dead_letters", 60 * SECOND), "that one is not dead yet"


def test_what_was_buried_is_judged_anew_when_it_comes_again() -> None:
    bench = Bench(log=Log(Transient("broker")), in_a_row=1)
    bench.run()
    assert bench.run() == Ack("dead")
    assert len(bench.inner.seen) == 1

    assert bench.run() == Release("dead_letters", 60 * SECOND)
    assert len(bench.inner.seen) == 2


def test_the_oldest_of_too_many_that_wait_for_their_letter_is_judged_anew() -> None:
    kept = 4_096
    bench = Bench(log=Log(*[Transient("broker")] * (kept + 2)))
    for number in range(kept):
        bench.run(f"e{number}")

    bench.run("e0")
    assert len(bench.inner.seen) == kept, "all are remembered"
    bench.run("one too many")
    assert bench.run("e1") == Ack("dead")
    assert len(bench.inner.seen) == kept + 1, "the second oldest still is"
    assert bench.run("e0") == Ack("dead")
    assert bench.inner.seen[-1].event_id == "e0", "the oldest is not"


def test_who_is_forgotten_while_it_is_buried_is_buried_all_the_same() -> None:
    bench = Bench(log=Log(*[Transient("broker")] * 4_096))
    slow = bench.link(make_delivery("slow"))
    while not bench.link._pending:
        slow.send(None)
    for number in range(4_096):
        bench.run(f"e{number}")

    assert at_once(slow) == Ack("dead")


@pytest.mark.parametrize("why", ["parked", "done", "dead", "unread"])
def test_an_ack_without_a_handler_is_no_success(why: str) -> None:
    bench = Bench(EXHAUSTED, Ack(why), EXHAUSTED, in_a_row=1)

    bench.run("e0")
    assert bench.run("e1", redrives=1) == Ack(why)

    assert isinstance(bench.run("e2"), Release)
    assert bench.entries.of("acted") == []


def test_what_gives_a_delivery_back_passes_outward_as_it_is() -> None:
    for settlement in (Retry(3), Release("down", 4)):
        assert Bench(settlement).run() is settlement


def test_a_redriven_event_that_is_handled_is_revived() -> None:
    bench = Bench(Ack("handled"))

    bench.run("e1", redrives=1)
    bench.run("e2", redrives=0)

    assert bench.entries == [("acted", 0, PROCESS, "1.1", "redrive", "revived")]


def test_a_success_between_starts_the_count_anew() -> None:
    bench = Bench(EXHAUSTED, EXHAUSTED, Ack("handled"), EXHAUSTED, in_a_row=2)

    settled = [bench.run(f"e{n}") for n in range(5)]

    assert all(isinstance(each, Ack) for each in settled)


def test_a_large_share_of_the_last_hundred_pauses_once_there_are_fifty() -> None:
    def count(good: int) -> int:
        """Dead letters before the first pause, each after `good` successes."""
        bench = Bench()
        for dead in range(100):
            for _ in range(good):
                bench.limiter.succeeded()
            if bench.limiter.pause_us(has_waited=False):
                return dead
            bench.limiter.died()
        return 100

    assert count(good=4) == 100, "a fifth is not more than 20 %"
    assert count(good=3) == 12, "a quarter is, at the fiftieth"


@pytest.mark.parametrize("share_percent", [5, 20, 50, 90])
def test_the_share_is_that_of_a_plain_list_of_the_last_hundred(share_percent: int) -> None:
    hand = Hand()
    limiter = Limiter(in_a_row=10**9, share_percent=share_percent, pause_us=7, now=hand.now_us)
    seen: list[bool] = []
    found = []
    for number in range(2_000):
        hand.us += 10
        last = [*seen[-99:], True]
        is_too_much = len(last) >= 50 and sum(last) * 100 > share_percent * len(last)
        assert limiter.pause_us(has_waited=False) == (7 if is_too_much else 0), number
        found.append(is_too_much)
        is_dead = crc32(b"%d" % number) % 100 < share_percent
        seen.append(is_dead)
        (limiter.died if is_dead else limiter.succeeded)()
    assert set(found) == {False, True}


def test_after_heal_the_limiter_pauses_nothing() -> None:
    bench = Bench(in_a_row=2)
    for number in range(3):
        bench.run(f"e{number}")

    bench.limiter.healed()

    assert [bench.run(f"f{number}") for number in range(20)] == [Ack("dead")] * 20


def test_a_letter_under_another_epoch_is_judged_anew() -> None:
    bench = Bench(EXHAUSTED, Ack("handled"), log=Log(Transient("broker")))
    first = make_delivery()
    at_once(bench.link(first))
    again = make_delivery()
    again.epoch = 2

    assert at_once(bench.link(again)) == Ack("handled")


def test_what_a_chain_never_settled_can_be_buried_from_outside() -> None:
    bench = Bench()
    delivery: Delivery = make_delivery()

    settled = at_once(bench.link.bury(delivery, DeadLetter("exhausted", "ValueError", "bug")))

    assert settled == Ack("dead")
    assert header(bench.log.records[0].headers, "lab-dlq-class") == b"ValueError"
