"""Key lanes, one link and one caller at a time; all interleavings stand in the exhaustive test."""

from typing import Any

import pytest
from msgspec.structs import replace

from lab.domain.envelope import header
from lab.domain.errors import Down, Indeterminate, Transient
from lab.patterns.key_lanes import KeyLanes, KeyParking, PlainParking, PlainTiers
from lab.ports.bus import Ack, DeadLetter, Delivery, Outgoing, Record, Release, Retry
from lab.ports.key_retry import KeyRetryStore, WaitingRow
from lab.ports.store import OutcomeRow, Unit
from tests.kit.chain_parts import (
    EPOCH_US,
    GROUP,
    PROCESS,
    SECOND,
    Entries,
    Inner,
    Log,
    Stores,
    make_delivery,
    make_pen,
    make_record,
)
from tests.kit.stepping import at_once

TIERS_US = (5 * SECOND, 30 * SECOND)
RETRY_1 = "orders.notification.retry.1"
RETRY_2 = "orders.notification.retry.2"
REDRIVES = "orders.notification.retry"


class Bench:
    """A key-lanes link over memory stores, with the handler's side under the test's control."""

    def __init__(self, *steps: Any, log: Log | None = None) -> None:
        self.stores = Stores()
        self.log = log or Log()
        self.inner = Inner(*steps)
        self.republished: list[str] = []
        self.entries = Entries()
        store = self.stores.store.key_retry
        self.parking = KeyParking(store=store, publisher=self.log, group=GROUP, tiers_us=TIERS_US)
        self.link = KeyLanes(
            self.inner,
            parking=self.parking,
            store=store,
            group=GROUP,
            republish=self._republish,
            look=self.stores.store.orders.outcome,
            again_us=SECOND,
            pen=make_pen(self.stores.hand.now_us, self.entries),
        )

    async def _republish(self, delivery: Delivery) -> None:
        self.republished.append(delivery.event_id)

    @property
    def rows(self) -> list[tuple[str, int, bool]]:
        rows = self.stores.server.key_retry.rows()
        return [(row.event_id, row.attempts, row.is_dead) for row in rows]

    def park(self, event_id: str = "e1", *, attempt: int = 3, tier: int = 1) -> None:
        delivery = make_delivery(event_id, attempt=attempt)
        delay_us = TIERS_US[tier - 1]
        assert at_once(self.parking.park(delivery, tier=tier, delay_us=delay_us)) == Ack("parked")

    def arrive(self, event_id: str) -> None:
        assert at_once(self.link(make_delivery(event_id))) == Ack("parked")

    def alarm(self, topic: str = RETRY_1, event_id: str = "e1", **named: Any) -> Any:
        record = make_record(event_id, topic=topic)
        return at_once(self.link(make_delivery(event_id, record=record, **named)))

    def discard(self, event_id: str = "e1") -> Any:
        record = make_record(event_id, topic=REDRIVES, lab_discard=b"1")
        return at_once(self.link(make_delivery(event_id, record=record, redrives=1)))


def text(record: Outgoing | Record, name: str) -> str:
    return (header(record.headers, name) or b"").decode()


def test_without_a_lock_a_record_runs() -> None:
    bench = Bench()

    delivery = make_delivery(starts_known=True)

    assert at_once(bench.link(delivery)) == Ack("handled")
    assert bench.inner.seen[0] is delivery
    assert bench.rows == []
    assert bench.log.records == []


def test_the_first_failure_locks_the_key_and_publishes_an_alarm_that_is_the_whole_record() -> None:
    bench = Bench()

    bench.park()

    (alarm,) = bench.log.records
    record = make_record()
    assert bench.rows == [("e1", 3, False)]
    assert (alarm.topic, alarm.key, alarm.value) == (RETRY_1, record.key, record.value)
    assert set(record.headers) <= set(alarm.headers)
    assert text(alarm, "lab-attempt") == "4"
    assert text(alarm, "lab-not-before") == str(EPOCH_US + 5 * SECOND)
    assert text(alarm, "lab-origin") == "orders/0/0"
    assert text(alarm, "lab-group") == GROUP


def test_a_run_that_was_no_attempt_is_parked_with_its_attempts_and_its_own_delay() -> None:
    bench = Bench()
    delivery = make_delivery(attempt=2)

    parked = bench.parking.park(delivery, tier=2, delay_us=7 * SECOND, counts=False)

    assert at_once(parked) == Ack("parked")
    (alarm,) = bench.log.records
    assert bench.rows == [("e1", 1, False)]
    assert text(alarm, "lab-attempt") == "2"
    assert text(alarm, "lab-not-before") == str(EPOCH_US + 7 * SECOND)


def test_later_records_of_a_locked_key_wait_in_order_of_arrival_and_once() -> None:
    bench = Bench()
    bench.park("e1")

    for event_id in ("e2", "e3", "e2"):
        bench.arrive(event_id)

    assert [event_id for event_id, _, _ in bench.rows] == ["e1", "e2", "e3"]
    assert bench.inner.seen == []
    assert bench.entries == [("acted", 0, PROCESS, "1.1", "key_lanes", "held")] * 3


def test_another_key_passes_a_locked_one() -> None:
    bench = Bench()
    bench.park("e1")

    other = make_delivery("e9", record=make_record("e9", key="order-2"))

    assert at_once(bench.link(other)) == Ack("handled")


def test_an_alarm_before_its_time_waits_and_starts_nothing() -> None:
    bench = Bench()
    bench.park("e1")
    bench.stores.hand.us = 2 * SECOND

    assert bench.alarm() == Retry(3 * SECOND, counts=False)
    assert bench.inner.seen == []


def test_an_alarm_runs_the_head_and_comes_again_until_the_last_row_is_gone() -> None:
    bench = Bench()
    bench.park("e1")
    bench.arrive("e2")
    bench.stores.hand.us = 5 * SECOND

    assert bench.alarm() == Retry(0, counts=False)
    assert bench.alarm() == Ack("handled")
    assert bench.alarm() == Ack("done")

    assert [(each.event_id, each.attempt) for each in bench.inner.seen] == [("e1", 4), ("e2", 1)]
    assert bench.inner.seen[0].record.topic == "orders"
    assert bench.stores.server.key_retry.rows() == []


def test_a_head_runs_as_it_failed_under_the_epoch_of_its_alarm() -> None:
    bench = Bench()
    failed = make_delivery("e1", attempt=3, redrives=2)
    failed.first_failure_us, failed.failures = 11, ((11, "Transient", "503"),)
    at_once(bench.parking.park(failed, tier=1, delay_us=0))
    alarm = make_delivery("e9", record=make_record("e9", topic=RETRY_1), starts_known=True)
    alarm.epoch = 7

    at_once(bench.link(alarm))

    (run,) = bench.inner.seen
    assert (run.epoch, run.group, run.subject) == (7, GROUP, "1.1")
    assert (run.event_id, run.event_type, run.attempt) == ("e1", "OrderCancelled", 4)
    assert (run.redrives, run.starts_known) == (2, False)
    assert (run.first_failure_us, run.failures) == (11, ((11, "Transient", "503"),))


@pytest.mark.parametrize(("type_bytes", "event_type"), [(b"\xff", "\ufffd"), (None, "")])
def test_a_head_whose_type_is_no_text_or_is_missing_runs_all_the_same(
    type_bytes: bytes | None, event_type: str
) -> None:
    bench = Bench()
    record = make_record()
    kept = tuple(pair for pair in record.headers if pair[0] != "ce_type")
    headers = kept if type_bytes is None else (*kept, ("ce_type", type_bytes))
    failed = make_delivery(record=replace(record, headers=headers))
    at_once(bench.parking.park(failed, tier=1, delay_us=0))

    assert bench.alarm() == Ack("handled")
    assert [run.event_type for run in bench.inner.seen] == [event_type]


def test_who_wants_to_know_the_stores_time_asks_about_its_own_key() -> None:
    bench = Bench(Retry(7))
    head, asked = bench.stores.store.key_retry.head, set()

    async def noted(group: str, key: str) -> Any:
        asked.add((group, key))
        return await head(group, key)

    bench.stores.store.key_retry.head = noted  # type: ignore[method-assign]  # in this test only
    waits = make_delivery("e2")
    waits.wait_us = SECOND

    bench.park()
    at_once(bench.link.move(waits))
    bench.stores.hand.us = 5 * SECOND
    assert bench.alarm() == Retry(7, counts=False)

    assert asked == {(GROUP, "order-1")}


def test_a_head_that_is_parked_again_from_its_main_topic_keeps_the_most_attempts() -> None:
    bench = Bench()

    for attempt in (2, 3, 1):
        bench.park(attempt=attempt)
        assert bench.log.topics[-1] == RETRY_1

    assert bench.rows == [("e1", 3, False)]


def test_a_head_is_written_anew_only_for_a_further_attempt() -> None:
    bench = Bench()
    store, rows = bench.stores.store.key_retry, []
    reschedule = store.reschedule

    async def noted(row: WaitingRow) -> bool:
        rows.append(row.attempts)
        return await reschedule(row)

    store.reschedule = noted  # type: ignore[method-assign]  # in this test only

    for attempt in (2, 2, 3):
        bench.park(attempt=attempt)

    assert rows == [3]


def test_a_head_that_somebody_finishes_while_it_is_parked_again_is_looked_at_again() -> None:
    bench = Bench()
    bench.park(attempt=1)

    async def finished_meanwhile(row: WaitingRow) -> bool:  # noqa: ARG001 - the port's shape
        return False

    bench.stores.store.key_retry.reschedule = finished_meanwhile  # type: ignore[method-assign]  # in this test only

    again = at_once(bench.parking.park(make_delivery(attempt=2), tier=1, delay_us=5))

    assert again == Retry(0, counts=False)
    assert bench.log.topics == [RETRY_1]


def test_a_head_that_was_finished_between_two_looks_is_done() -> None:
    bench = Bench()
    bench.park()

    async def gone(group: str, key: str) -> Any:  # noqa: ARG001 - the port's shape
        return None, 0

    bench.stores.store.key_retry.head = gone  # type: ignore[method-assign]  # in this test only

    assert at_once(bench.link(make_delivery("e1"))) == Ack("done")


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Transient("broker"), Retry(SECOND, counts=False)),
        (Down("broker", dependency="broker", after_us=3), Release("down", 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_move_that_fails_is_given_back(error: Any, settlement: Any) -> None:
    bench = Bench(log=Log(error))
    plain = PlainTiers(
        Inner(),
        parking=PlainParking(publisher=Log(error), group=GROUP, wall=lambda: EPOCH_US),
        wall=lambda: EPOCH_US,
        again_us=SECOND,
    )

    assert at_once(bench.link.move(make_delivery("e1"))) == settlement
    assert at_once(plain.move(make_delivery("e1"))) == settlement


def test_a_redriven_event_of_a_locked_key_waits_its_turn_with_no_attempt_counted() -> None:
    bench = Bench()
    bench.park("e2")

    assert bench.alarm(REDRIVES, event_id="e1", redrives=1) == Retry(5 * SECOND, counts=False)

    assert bench.rows == [("e2", 3, False), ("e1", 0, False)]
    assert bench.inner.seen == []


def test_what_the_alarm_carries_does_not_matter() -> None:
    bench = Bench()
    bench.park("e1")
    bench.stores.hand.us = 5 * SECOND

    bench.alarm(event_id="long-done")

    assert [each.event_id for each in bench.inner.seen] == ["e1"]


def test_a_head_that_fails_again_moves_to_the_next_tier_under_a_new_alarm() -> None:
    bench = Bench()
    bench.park("e1", attempt=3)
    bench.stores.hand.us = 5 * SECOND

    class Failing(Inner):
        async def __call__(self, delivery: Delivery) -> Any:
            return await bench.parking.park(delivery, tier=2, delay_us=30 * SECOND)

    bench.link._inner = Failing()

    assert bench.alarm() == Ack("parked")
    assert bench.rows == [("e1", 4, False)]
    assert bench.log.topics == [RETRY_1, RETRY_2]
    assert bench.alarm() == Retry(30 * SECOND, counts=False)


def test_a_head_that_is_retried_in_place_keeps_its_attempts_in_the_row() -> None:
    bench = Bench(Retry(7))
    bench.park("e1", attempt=1)
    bench.stores.hand.us = 5 * SECOND

    assert bench.alarm() == Retry(7, counts=False)
    assert bench.rows == [("e1", 2, False)]


class Refusing:
    """A store that refuses to write a head anew, as often as it is told."""

    def __init__(self, store: KeyRetryStore, times: int) -> None:
        self._store = store
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def reschedule(self, row: WaitingRow) -> bool:
        self._times -= 1
        if self._times >= 0:
            raise Down("postgres", dependency="store", after_us=1)
        return await self._store.reschedule(row)


def test_an_attempt_of_a_head_is_counted_even_if_the_store_would_not_take_it_down() -> None:
    bench = Bench(Retry(7))
    bench.park("e1", attempt=1)
    bench.stores.hand.us = 5 * SECOND
    store: Any = Refusing(bench.stores.store.key_retry, times=2)
    bench.link._store = store

    settled = [bench.alarm() for _ in range(3)]

    # It waits as long as it was told to, not until the store may be asked again.
    assert settled == [Retry(7, counts=False)] * 3
    assert [run.attempt for run in bench.inner.seen] == [2, 3, 4]
    assert bench.rows == [("e1", 4, False)]


def test_the_delay_of_a_head_in_place_begins_when_its_handler_has_failed() -> None:
    bench = Bench(Retry(2 * SECOND))

    async def slow(delivery: Delivery) -> Any:
        bench.stores.hand.us += 3 * SECOND
        return await inner(delivery)

    inner, bench.link._inner = bench.link._inner, slow
    bench.park()
    bench.stores.hand.us = 5 * SECOND

    assert bench.alarm() == Retry(2 * SECOND, counts=False)
    # Whoever gets the alarm after a rebalance knows the row only.
    assert bench.alarm() == Retry(2 * SECOND, counts=False)
    assert len(bench.inner.seen) == 1


@pytest.mark.parametrize(
    "settlement", [Retry(9, counts=False), Release("down", 4), DeadLetter("poison", "x", "y")]
)
def test_what_is_no_attempt_leaves_the_head_as_it_was(settlement: Any) -> None:
    bench = Bench(settlement)
    bench.park("e1")
    bench.stores.hand.us = 5 * SECOND

    assert bench.alarm() == settlement
    assert bench.rows == [("e1", 3, False)]


def test_behind_a_dead_head_rows_stay_and_its_letter_is_published_again() -> None:
    bench = Bench(Ack("dead"))
    bench.park("e1")
    bench.arrive("e2")
    bench.stores.hand.us = 5 * SECOND

    assert bench.alarm() == Ack("dead")
    assert bench.alarm() == Ack("dead")

    assert bench.rows == [("e1", 3, True), ("e2", 0, False)]
    assert bench.republished == ["e1"]
    assert len(bench.inner.seen) == 1


def test_a_main_record_that_is_the_head_publishes_an_alarm_and_does_not_run_it() -> None:
    bench = Bench()
    bench.park("e1", tier=2)
    bench.stores.hand.us = 28 * SECOND

    assert at_once(bench.link(make_delivery("e1"))) == Ack("parked")

    # Two seconds are left: the shortest tier that covers them.
    assert bench.log.topics == [RETRY_2, RETRY_1]
    assert bench.inner.seen == []


def test_a_main_record_whose_head_is_dead_is_acknowledged_as_dead() -> None:
    bench = Bench(Ack("dead"))
    bench.park("e1")
    bench.stores.hand.us = 5 * SECOND
    bench.alarm()

    assert at_once(bench.link(make_delivery("e1"))) == Ack("dead")
    assert bench.log.topics == [RETRY_1]


def test_a_redelivered_record_sees_to_the_alarm_of_a_lock_that_came_while_it_ran() -> None:
    bench = Bench()

    class LockedMeanwhile(Inner):
        async def __call__(self, _delivery: Delivery) -> Any:
            await bench.stores.store.key_retry.park(row)
            return Ack("handled")

    bench.link._inner = LockedMeanwhile()
    other = Bench()
    other.park("e1")
    (row,) = other.stores.server.key_retry.rows()

    assert at_once(bench.link(make_delivery("e1"))) == Ack("handled")
    assert bench.log.topics == [RETRY_1]


def test_a_first_delivery_does_not_look_twice() -> None:
    looks = 0
    bench = Bench()
    head = bench.stores.store.key_retry.head

    async def counted(group: str, key: str) -> Any:
        nonlocal looks
        looks += 1
        return await head(group, key)

    bench.stores.store.key_retry.head = counted  # type: ignore[method-assign]  # in this test only

    at_once(bench.link(make_delivery("e1", starts_known=True)))
    assert looks == 0
    at_once(bench.link(make_delivery("e2", starts_known=False)))
    assert looks == 1


def test_an_event_that_is_done_is_not_parked_but_looked_at_again() -> None:
    bench = Bench()
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(bench.stores.store.orders.commit(done))

    parked = at_once(bench.parking.park(make_delivery("e1"), tier=1, delay_us=5))

    assert parked == Retry(0, counts=False)
    assert bench.rows == []
    assert bench.log.records == []


@pytest.mark.parametrize(
    ("error", "settlement"),
    [
        (Transient("broker"), Retry(SECOND, counts=False)),
        (Indeterminate("broker"), Retry(SECOND, counts=False)),
        (Down("broker", dependency="broker", after_us=3), Release("down", 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_alarm_that_cannot_be_published_settles_nothing(error: Any, settlement: Any) -> None:
    bench = Bench(log=Log(error))
    other = Bench()
    other.park("e1")
    (row,) = other.stores.server.key_retry.rows()
    at_once(bench.stores.store.key_retry.park(row))

    assert at_once(bench.link(make_delivery("e1"))) == settlement
    assert bench.log.records == []


def test_a_drain_moves_a_record_to_the_retry_path_and_counts_no_attempt() -> None:
    bench = Bench()

    settled = [at_once(bench.link.move(make_delivery(each))) for each in ("e1", "e2")]

    assert settled == [Ack("parked")] * 2
    assert bench.rows == [("e1", 0, False), ("e2", 0, False)]
    assert bench.log.topics == [RETRY_1]


def test_a_drain_moves_what_waits_with_the_rest_of_its_wait() -> None:
    bench = Bench(Ack("handled"))
    delivery = make_delivery("e1", attempt=2)
    delivery.wait_us = 3 * SECOND

    assert at_once(bench.link.move(delivery)) == Ack("parked")
    (sent,) = bench.log.records
    assert text(sent, "lab-not-before") == str(EPOCH_US + 3 * SECOND)
    assert bench.alarm() == Retry(3 * SECOND, counts=False)
    bench.stores.hand.us = 3 * SECOND
    assert bench.alarm() == Ack("handled")


def test_a_drain_moves_an_alarm_as_it_is() -> None:
    bench = Bench()
    record = make_record(topic=RETRY_2, lab_attempt=b"5")

    settled = at_once(bench.link.move(make_delivery(record=record)))

    assert settled == Ack("parked")
    assert bench.log.records == [Outgoing(RETRY_2, record.key, record.value, record.headers)]
    assert bench.rows == []


def test_a_drain_settles_what_is_done_already() -> None:
    bench = Bench()
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(bench.stores.store.orders.commit(done))

    assert at_once(bench.link.move(make_delivery("e1"))) == Ack("done")
    # The links inside would ask the dedupe store first, and a stop has no time to wait for it.
    assert bench.inner.seen == []


def test_a_drain_publishes_the_letter_of_what_is_dead_already() -> None:
    bench = Bench()
    dead = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1", is_dead=True))
    at_once(bench.stores.store.orders.commit(dead))

    assert at_once(bench.link.move(make_delivery("e1"))) == Ack("dead")
    assert bench.republished == ["e1"]
    assert bench.inner.seen == []


def test_a_drain_that_settles_by_an_outcome_sees_to_the_alarm_of_the_key() -> None:
    bench = Bench()
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(bench.stores.store.orders.commit(done))
    bench.park("e2")

    assert at_once(bench.link.move(make_delivery("e1", starts_known=True))) == Ack("done")
    assert bench.log.topics == [RETRY_1]
    assert at_once(bench.link.move(make_delivery("e1"))) == Ack("done")
    assert bench.log.topics == [RETRY_1] * 2


def test_a_redrive_of_a_dead_head_makes_it_live_again_with_fresh_attempts() -> None:
    bench = Bench(Ack("dead"), Ack("handled"))
    bench.park("e1")
    bench.arrive("e2")
    bench.stores.hand.us = 5 * SECOND
    bench.alarm()

    assert bench.alarm(REDRIVES, redrives=1) == Retry(0, counts=False)

    runs = [(each.event_id, each.attempt, each.redrives) for each in bench.inner.seen]
    assert runs == [("e1", 4, 0), ("e1", 1, 1)]
    assert bench.rows == [("e2", 0, False)]


def test_a_redrive_that_is_done_leaves_an_alarm_for_the_rows_behind_it() -> None:
    bench = Bench(Ack("done"))
    bench.park("e2")
    done = Unit(outcome=OutcomeRow(group=GROUP, event_id="e1"))
    at_once(bench.stores.store.orders.commit(done))

    assert bench.alarm(REDRIVES, redrives=1) == Ack("done")
    assert bench.log.topics == [RETRY_1, RETRY_1]


def test_a_redrive_of_an_event_that_died_without_a_lock_runs_it_as_it_stood() -> None:
    bench = Bench()

    assert bench.alarm(REDRIVES, redrives=1) == Ack("handled")
    (run,) = bench.inner.seen
    assert (run.record.topic, run.redrives) == ("orders", 1)


def test_plain_tiers_send_the_record_itself_and_lock_nothing() -> None:
    stores, log = Stores(), Log()
    parking = PlainParking(publisher=log, group=GROUP, wall=stores.hand.wall_us)
    link = PlainTiers(Inner(), parking=parking, wall=stores.hand.wall_us, again_us=SECOND)

    at_once(parking.park(make_delivery(attempt=3), tier=1, delay_us=5 * SECOND))
    at_once(link(make_delivery("e2")))

    (sent,) = log.records
    assert (sent.topic, text(sent, "lab-attempt")) == (RETRY_1, "4")
    assert stores.server.key_retry.rows() == []


def test_a_record_of_a_plain_tier_waits_for_its_time_and_goes_on_counting() -> None:
    stores, inner = Stores(), Inner()
    hand = stores.hand
    parking = PlainParking(publisher=Log(), group=GROUP, wall=hand.wall_us)
    link = PlainTiers(inner, parking=parking, wall=hand.wall_us, again_us=SECOND)
    record = make_record(
        topic=RETRY_1, lab_attempt=b"4", lab_not_before=b"%d" % (EPOCH_US + 5 * SECOND)
    )

    early = at_once(link(make_delivery(record=record)))
    assert early == Retry(5 * SECOND, counts=False, by_tier=True)
    hand.us = 5 * SECOND - 1
    early = at_once(link(make_delivery(record=record)))
    assert early == Retry(1, counts=False, by_tier=True)
    hand.us = 5 * SECOND
    assert at_once(link(make_delivery(record=record))) == Ack("handled")
    assert [each.attempt for each in inner.seen] == [4]


def test_a_record_of_a_plain_tier_remembers_when_it_first_failed() -> None:
    inner = Inner()
    parking = PlainParking(publisher=Log(), group=GROUP, wall=lambda: EPOCH_US)
    link = PlainTiers(inner, parking=parking, wall=lambda: EPOCH_US, again_us=SECOND)
    record = make_record(topic=RETRY_1, lab_first_failure=b"11")
    knows = make_delivery(record=record)
    knows.first_failure_us = 5

    at_once(link(make_delivery(record=record)))
    at_once(link(knows))

    assert [(each.first_failure_us, each.attempt) for each in inner.seen] == [(11, 1), (5, 1)]


def test_a_drain_of_plain_tiers_keeps_the_attempt() -> None:
    log = Log(Transient("broker"))
    parking = PlainParking(publisher=log, group=GROUP, wall=lambda: EPOCH_US)
    link = PlainTiers(Inner(), parking=parking, wall=lambda: EPOCH_US, again_us=SECOND)

    assert at_once(link.move(make_delivery(attempt=2))) == Retry(SECOND, counts=False)
    assert at_once(link.move(make_delivery(attempt=2))) == Ack("parked")
    (sent,), record = log.records, make_record()
    assert (sent.topic, sent.key, sent.value) == (RETRY_1, record.key, record.value)
    assert text(sent, "lab-attempt") == "2"


def test_a_drain_of_plain_tiers_keeps_the_rest_of_a_wait() -> None:
    log = Log()
    parking = PlainParking(publisher=log, group=GROUP, wall=lambda: EPOCH_US)
    delivery = make_delivery(attempt=2)
    delivery.wait_us = 3 * SECOND

    at_once(parking.move(delivery))

    assert text(log.records[0], "lab-not-before") == str(EPOCH_US + 3 * SECOND)


def test_a_discard_deletes_the_dead_head_and_leaves_an_alarm_for_the_rows_behind_it() -> None:
    bench = Bench(Ack("dead"))
    bench.park("e1")
    bench.arrive("e2")
    bench.stores.hand.us = 5 * SECOND
    bench.alarm()

    assert bench.discard() == Ack("discarded")

    assert [each.event_id for each in bench.inner.seen] == ["e1"], "it is not run again"
    assert bench.rows == [("e2", 0, False)]
    assert bench.log.topics == [RETRY_1, RETRY_1]


def test_a_discard_whose_row_is_gone_still_leaves_an_alarm() -> None:
    """Whoever deleted the row may have died before it published one."""
    bench = Bench()
    bench.park("e2")

    assert bench.discard() == Ack("discarded")

    assert bench.log.topics == [RETRY_1, RETRY_1]
    assert (bench.rows, bench.inner.seen) == ([("e2", 3, False)], [])


def test_a_discard_that_a_drain_moves_stays_one() -> None:
    bench = Bench()
    record = make_record(topic=REDRIVES, lab_redrives=b"1", lab_discard=b"1")

    assert at_once(bench.link.move(make_delivery(record=record))) == Ack("parked")
    assert bench.log.records[0].headers == record.headers


def test_plain_tiers_run_nothing_that_is_discarded() -> None:
    inner, log = Inner(), Log()
    parking = PlainParking(publisher=log, group=GROUP, wall=lambda: EPOCH_US)
    link = PlainTiers(inner, parking=parking, wall=lambda: EPOCH_US, again_us=SECOND)
    record = make_record(topic=REDRIVES, lab_redrives=b"1", lab_discard=b"1")

    assert at_once(link(make_delivery(record=record))) == Ack("discarded")
    assert at_once(link.move(make_delivery(record=record))) == Ack("discarded")
    assert (inner.seen, log.records) == ([], [])
