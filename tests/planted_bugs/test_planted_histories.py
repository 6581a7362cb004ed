"""Each promise catches a planted bug in a history made by hand, and passes the healthy one.

A bug is a small edit of a healthy story. It must break its promise, and the witness must name the
order. Not here: bugs planted in the running system.
"""

# ruff: noqa: FBT003 - the fields of an entry are what they are

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pytest

from lab.checks.checker import Checker
from lab.checks.registry import NAMES
from lab.history.calls import DeliverEntry
from lab.history.contents import NO_TIME
from lab.history.entries import Entry, kind_of, subject_of, time_of
from lab.history.facts import AppendedEntry
from tests.kit.histories import (
    ASKED,
    CONTRACT,
    CUSTOMER,
    HEALTHY,
    MS,
    S,
    Story,
    buried,
    cancelled,
    changed,
    charge_key,
    duplicate,
    event_id,
    expired,
    judge,
    outage,
    plain,
    refused,
    repeated_request,
    retried,
    stopped,
    traceparent,
    where,
    without,
)

SUBJECT: Final = "37.1"
History = list[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A planted bug. `witness` is a part of the sentence that must come out."""

    promise: str
    name: str
    plant: Callable[[], History]
    witness: str


BUGS: Final[list[Bug]] = []


def bug(promise: str, witness: str) -> Callable[[Callable[[], History]], Callable[[], History]]:
    """Register a planted bug."""

    def register(plant: Callable[[], History]) -> Callable[[], History]:
        BUGS.append(Bug(promise=promise, name=plant.__name__, plant=plant, witness=witness))
        return plant

    return register


def after(entries: History, index: int, *new: Entry) -> History:
    """Insert entries behind one."""
    return [*entries[: index + 1], *new, *entries[index + 1 :]]


def spoiled(entries: History, kind: str, change: Mapping[str, object], **which: object) -> History:
    """Change one entry."""
    index = where(entries, kind, **which)
    return [*entries[:index], changed(entries[index], **change), *entries[index + 1 :]]


def moved(entries: History, index: int, to: int) -> History:
    """Move an entry to another place; its time stays."""
    rest = [*entries[:index], *entries[index + 1 :]]
    return [*rest[:to], entries[index], *rest[to:]]


def fact(kind: str, process: str, *fields: object) -> Entry:
    """An entry about the order in question."""
    return (kind, 5 * S, process, SUBJECT, *fields)


# ---- money


@bug("no-double-charge", "order 37: 2 captures, at")
def a_second_capture_under_another_key() -> History:
    entries = plain()
    index = where(entries, "ledger", subject=SUBJECT, action="capture")
    return after(entries, index, changed(entries[index], key="charge:id-37.1:2"))


@bug("no-double-charge", "order 37: more refunds than captures")
def a_refund_that_is_paid_twice() -> History:
    entries = cancelled()
    index = where(entries, "ledger", action="refund")
    return after(entries, index, entries[index])


@bug(
    "money-matches",
    "order 37: a capture of 1021 minor units of EUR; the order is 1020 minor units of EUR",
)
def another_amount_is_captured() -> History:
    return spoiled(plain(), "ledger", {"amount_cents": 1_021}, subject=SUBJECT, action="capture")


@bug("money-matches", "order 37: it is CONFIRMED, and 0 of 1020 minor units of EUR are kept")
def an_order_is_confirmed_unpaid() -> History:
    return without(plain(), lambda e: e.get("action") == "capture" and e["subject"] == SUBJECT)


@bug("money-matches", "order 37: it is CANCELLED, and 1020 minor units of EUR are kept")
def the_capture_of_a_cancelled_order_is_kept() -> History:
    late = ("REFUND_PENDING", "REFUNDED")
    return without(
        cancelled(),
        lambda e: e["kind"] == "row" and e["state"] in late,
        lambda e: e["kind"] == "ledger" and e["action"] == "refund",
        lambda e: "Refund" in str(e.get("event_type")) or "Refund" in str(e.get("event_id")),
        lambda e: "Refund" in str(e.get("event_ids")),
    )


@bug("charge-after-validation", "order 37: a charge was announced while it was PENDING")
def an_order_is_charged_before_it_is_validated() -> History:
    return spoiled(plain(), "intent", {"state": "PENDING"}, subject=SUBJECT, op="open")


@bug("charge-after-validation", "order 37: a capture without an announced charge")
def a_charge_leaves_no_durable_trace() -> History:
    return without(plain(), lambda e: e["kind"] == "intent" and e["subject"] == SUBJECT)


# ---- orders


@bug("accepted-is-durable", "order 37: it was accepted with 201, and there is no row")
def an_accepted_order_is_not_stored() -> History:
    story = Story()
    story.write("http.begin", "client", SUBJECT, "create", "", "b0", 1, *ASKED)
    story.write(
        "http.end", "client", SUBJECT, "create", "", "b0", 1, 201, "", "id-37.1", "a", False
    )
    return story.end()


@bug("accepted-is-durable", "order 37: it was accepted, and there is no row under its key")
def the_answer_of_a_request_that_was_never_executed() -> History:
    story = Story()
    for send in (1, 2):
        subject = f"37.{send}"
        story.write("http.begin", "client", subject, "create", "k", "b0", send, *ASKED)
        answer = ("create", "k", "b0", send, 201, "", "id-37.1", "a", False)
        story.write("http.end", "client", subject, *answer)
    return story.end()


@bug("accepted-is-durable", "order 37: its cancel was granted, and it is CONFIRMED")
def a_cancel_is_granted_and_forgotten() -> History:
    entries = plain()
    answer = ("cancel", "", "", 1, 200, "", "id-37.1", "c", False)
    return after(entries, where(entries, "phase"), fact("http.end", "client", *answer))


@bug("refused-leaves-nothing", "order 36: it was refused with 422, and there is an order row")
def a_refused_order_is_stored() -> History:
    entries = refused()
    row = entries[where(entries, "row", subject=SUBJECT, version=1)]
    return after(entries, 1, changed(row, subject="36.1", event_id="e36"))


@bug("no-phantom", "payment has done OrderValidated, and every commit of that ended as Down")
def a_commit_is_told_to_have_failed_and_is_stored() -> History:
    return spoiled(plain(), "commit.end", {"result": "Down"}, subject=SUBJECT, group="payment")


def unanswered(result: str, *more: str) -> History:
    """The gateway has the charge of an order, and keeps silent; then it is sent again."""
    entries = plain()
    end = where(entries, "call.end", subject=SUBJECT, action="charge")
    begun = where(entries, "call.begin", subject=SUBJECT, action="charge")
    silent = ("payment_gateway", "charge", "", "", 1_020, "silent")
    before = [
        changed(entries[end], t_us=time_of(entries[begun]), took_us=0, result=each)
        for each in (result, *more)
    ]
    told = ("answered", time_of(entries[begun]), "ledger", SUBJECT, *silent)
    return [*entries[:begun], *before, told, *entries[begun:]]


@bug("no-phantom", "order 37: payment_gateway had its charge and kept silent: that ended as Transi")
def a_request_that_was_not_answered_is_told_as_one_that_was_not_sent() -> History:
    return unanswered("Transient")


@bug("no-phantom", "order 37: there is an order row, and nobody asked for it")
def an_order_that_nobody_asked_for() -> History:
    return without(plain(), lambda e: str(e["kind"])[:5] == "http." and e["subject"] == SUBJECT)


@bug("no-phantom", "nobody asked for it")
def a_charge_of_no_order() -> History:
    entries = plain()
    index = where(entries, "ledger", subject=SUBJECT, action="capture")
    return after(entries, index, changed(entries[index], subject=""))


@bug("idempotency-key", "order 37: 2 requests, 2 orders")
def a_repeated_request_makes_a_second_order() -> History:
    story = Story()
    story.order(SUBJECT)
    story.ask("37.2", key="key-37.1")
    return story.end()


@bug("idempotency-key", "order 37: 2 requests, answers with different order ids")
def a_repeated_request_gets_another_answer() -> History:
    return spoiled(repeated_request(), "http.end", {"answer": "id-99.1"}, send=100)


@bug("idempotency-key", "order 37: 2 requests, different bodies, both accepted")
def another_body_is_accepted_under_the_same_key() -> History:
    return spoiled(repeated_request(), "http.begin", {"body_sha256": "b1"}, send=100)


@bug("legal-transitions", "order 37: it went from PENDING to PAID")
def a_state_is_skipped() -> History:
    return spoiled(
        plain(),
        "row",
        {"state": "PAID", "event_type": "PaymentCaptured"},
        subject=SUBJECT,
        version=2,
    )


@bug("legal-transitions", "order 37: version 2 follows version 2")
def a_lost_update() -> History:
    return spoiled(plain(), "row", {"version": 2}, subject=SUBJECT, version=3)


@bug("legal-transitions", "order 37: it went from CONFIRMED to CANCELLED")
def a_confirmed_order_is_cancelled() -> History:
    entries = plain()
    index = where(entries, "row", subject=SUBJECT, version=4)
    late = changed(entries[index], version=5, state="CANCELLED", event_type="OrderCancelled")
    return after(entries, index, changed(late, event_id="OrderCancelled:37.1"))


@bug("outbox-atomic", "order 37: OrderConfirmed is owed and was never published")
def an_event_is_lost_between_commit_and_publish() -> History:
    event = event_id(SUBJECT, "OrderConfirmed")
    return without(plain(), lambda e: e.get("event_id") == event and e["kind"] != "row")


@bug("outbox-atomic", "order 37: OrderExpired was published, and no committed change owes it")
def an_event_of_a_change_that_was_rolled_back() -> History:
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT)
    ghost = changed(entries[index], event_id="ghost", event_type="OrderExpired", offset=99)
    return after(entries, index, ghost)


# ---- events


def _not_handled(entries: History, group: str, kind: str) -> History:
    """The handler of an event never ran; its record is acknowledged all the same."""
    event = event_id(SUBJECT, kind)
    return without(
        entries,
        lambda e: (
            e.get("group") == group
            and e.get("event_id") == event
            and e["kind"] not in ("deliver", "settle")
        ),
    )


@bug("no-lost-event", "order 37: notification acknowledged OrderCreated without an outcome")
def an_event_is_acknowledged_and_not_handled() -> History:
    return _not_handled(plain(), "notification", "OrderCreated")


@bug("no-lost-event", "order 37: notification passed OrderCreated without an outcome")
def an_event_is_skipped_by_a_commit() -> History:
    event = event_id(SUBJECT, "OrderCreated")
    return without(
        plain(), lambda e: e.get("group") == "notification" and e.get("event_id") == event
    )


@bug("no-lost-event", "order 37: OrderConfirmed was never published, and notification waits for it")
def an_event_is_never_published() -> History:
    return an_event_is_lost_between_commit_and_publish()


@bug("no-lost-event", "order 37: OrderCreated is left in notification's rows of keys in retry")
def a_row_is_left_under_a_live_head() -> History:
    entries = _not_handled(plain(), "notification", "OrderCreated")
    event = event_id(SUBJECT, "OrderCreated")
    row = fact("waiting", "store", "add", "notification", event, False)
    return after(entries, where(entries, "row", subject=SUBJECT), row)


@bug("effect-once", "order 37: its revenue was added 2 times")
def the_revenue_is_added_twice() -> History:
    entries = plain()
    index = where(entries, "revenue", subject=SUBJECT)
    return after(entries, index, entries[index])


@bug("effect-once", "order 37: 3 mails for 2 events")
def a_mail_is_sent_twice_under_two_keys() -> History:
    entries = plain()
    index = where(entries, "ledger", subject=SUBJECT, action="mail")
    return after(entries, index, changed(entries[index], key="attempt-2"))


@bug("effect-once", "order 37: 2 mails of 1 template")
def a_mail_is_sent_twice_and_another_one_never() -> History:
    """The number of mails is that of events."""
    entries = a_mail_is_sent_twice_under_two_keys()
    return without(
        entries, lambda e: e.get("charge_key") == "confirmed" and e["subject"] == SUBJECT
    )


@bug("effect-once", "order 37: orders committed its unit of work for PaymentCaptured 2 times")
def a_unit_of_work_is_committed_twice() -> History:
    entries = plain()
    index = where(entries, "commit.end", subject=SUBJECT, group="orders")
    return after(entries, index, entries[index])


@bug("effect-once", "order 37: OrderConfirmed was handled, and no revenue was added")
def the_revenue_is_forgotten() -> History:
    return without(plain(), lambda e: e["kind"] == "revenue" and e["subject"] == SUBJECT)


@bug("dedupe-sound", "order 37: payment suppressed OrderValidated, and nothing was ever done")
def an_event_is_suppressed_that_was_never_handled() -> History:
    return without(
        _not_handled(duplicate(), "payment", "OrderValidated"),
        lambda e: e["kind"] == "settle" and e["group"] == "payment" and e["why"] == "handled",
    )


@bug("ack-after-effect", "order 37: orders acknowledged PaymentCaptured as handled before")
def a_delivery_is_acknowledged_before_its_commit() -> History:
    entries = plain()
    settled = where(entries, "settle", subject=SUBJECT, group="orders")
    return moved(entries, settled, where(entries, "claim", group="orders"))


@bug("ack-after-effect", "order 37: validation acknowledged OrderCreated as parked before")
def a_delivery_is_acknowledged_without_being_parked() -> History:
    event = event_id(SUBJECT, "OrderCreated")
    return without(
        retried(),
        lambda e: e["kind"] == "waiting" or "." in str(e.get("topic")),
        lambda e: e.get("group") == "validation" and e["kind"] == "outcome",
        lambda e: e["kind"] == "commit.end" and e["event_id"] == event,
    )


@bug("per-key-order", "order 37: notification handled change 1 after change 4 of topic orders")
def a_later_event_overtakes_an_earlier_one() -> History:
    entries = plain()
    first = where(entries, "handle.begin", subject=SUBJECT, group="notification", sequence=1)
    last = where(entries, "handle.end", subject=SUBJECT, event_type="OrderConfirmed")
    return after(entries, last, changed(entries[first], t_us=time_of(entries[last])))


@bug("per-key-order", "order 37: notification was done with change 1 of orders too late")
def two_processes_do_the_events_of_an_order_in_the_wrong_order() -> History:
    entries = plain()
    created = event_id(SUBJECT, "OrderCreated")
    first = where(entries, "outcome", group="notification", event_id=created)
    last = where(
        entries, "outcome", group="notification", event_id=event_id(SUBJECT, "OrderConfirmed")
    )
    return moved(entries, first, last)


@bug("per-key-order", "order 37: notification-1 began OrderConfirmed while it handled another")
def two_events_of_an_order_are_handled_at_once() -> History:
    entries = plain()
    of = {"subject": SUBJECT, "group": "notification"}
    first = where(entries, "handle.end", **of, event_type="OrderCreated")
    second = where(entries, "handle.begin", **of, event_type="OrderConfirmed")
    return moved(entries, first, second)


# ---- what stands in the topics


POISONED: Final = ("fault", 1, "run", SUBJECT, "bus.poison", "OrderConfirmed", 1, 0)


@bug("log-sound", "order 37: OrderCreated was appended to orders/0 at offset 4, where a record")
def two_records_at_one_offset() -> History:
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT)
    return after(entries, index, entries[index])


@bug(
    "log-sound", "order 37: OrderCreated was appended to orders.validation.dlq/0 at offset 0, where"
)
def two_dead_letters_at_one_offset() -> History:
    entries = buried()
    index = where(entries, "appended", topic="orders.validation.dlq")
    return after(entries, index, entries[index])


@bug("log-sound", "payment-1 was given OrderValidated of order 37 at offset 0 of validation/0, and")
def a_delivery_shows_what_stands_elsewhere() -> History:
    return spoiled(plain(), "deliver", {"offset": 0}, subject=SUBJECT, group="payment")


@bug("log-sound", "payment-1 was given OrderValidated of order 37 at offset 2 of validation/0, and")
def a_delivery_shows_other_bytes() -> History:
    return spoiled(plain(), "deliver", {"digest": "other"}, subject=SUBJECT, group="payment")


@bug("log-sound", "at offset 99 of validation/0, where nothing stands")
def a_delivery_shows_what_stands_nowhere() -> History:
    return spoiled(plain(), "deliver", {"offset": 99}, subject=SUBJECT, group="payment")


def _appended_again(**change: object) -> History:
    """The relay publishes an event a second time, in another form."""
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT, event_type="OrderConfirmed")
    return after(entries, index, changed(entries[index], offset=99, **change))


@bug(
    "log-sound", "order 37: OrderConfirmed is not the same bytes in orders/0 offset 5 and orders/0"
)
def an_event_that_is_published_again_has_other_bytes() -> History:
    return _appended_again(digest="stamped anew")


@bug("log-sound", "order 37: its records in orders stand in partition 0 and in partition 1")
def an_event_that_is_published_again_goes_to_another_partition() -> History:
    return _appended_again(partition=1)


@bug("log-sound", "order 37: OrderConfirmed stands in orders/0 offset 5 and payments/0 offset 99")
def an_event_stands_in_two_topics() -> History:
    return _appended_again(topic="payments")


@bug("log-sound", "order 37: its records in orders stand in partition 0 and in partition 1")
def a_key_goes_to_another_partition() -> History:
    where_to: dict[str, object] = {"partition": 1, "offset": 99}
    return spoiled(plain(), "appended", where_to, subject=SUBJECT, event_type="OrderConfirmed")


@bug(
    "log-sound", "order 37: OrderCreated is not the same bytes in orders/0 offset 0 and orders.val"
)
def a_retry_topic_has_other_bytes() -> History:
    topic = "orders.validation.retry.1"
    return spoiled(retried(), "appended", {"digest": "encoded anew"}, topic=topic)


@bug(
    "handler-input", "order 37: payment in payment-1 handled OrderValidated, which stands in no top"
)
def a_handler_runs_for_what_nobody_published() -> History:
    return without(
        plain(),
        lambda e: (
            e["kind"] in ("appended", "deliver", "settle")
            and e.get("event_type") == "OrderValidated"
            and e["subject"] == SUBJECT
        ),
    )


@bug("handler-input", "order 37: payment in payment-1 handled OrderValidated, and it was not what")
def a_handler_is_given_other_bytes() -> History:
    return spoiled(plain(), "handle.begin", {"digest": "other"}, subject=SUBJECT, group="payment")


@bug("handler-input", "OrderValidated as one of topic orders, and it stands in validation")
def a_handler_is_given_an_event_of_another_topic() -> History:
    return spoiled(plain(), "handle.begin", {"topic": "orders"}, subject=SUBJECT, group="payment")


@bug("handler-input", "order 37: payment-1 handled OrderValidated, and nothing was delivered to it")
def a_handler_runs_before_its_delivery() -> History:
    entries = plain()
    index = where(entries, "deliver", subject=SUBJECT, group="payment")
    end = where(entries, "handle.begin", subject=SUBJECT, group="payment")
    return moved(entries, index, end)


# ---- positions


@bug("commit-forward", "payment on validation/0 was committed at 3, and then at 2")
def a_position_goes_back() -> History:
    entries = plain()
    index = where(entries, "committed", group="payment")
    return after(entries, index, changed(entries[index], offset=2))


@bug("commit-forward", "payment on validation/0 was committed at 3, and then at 2")
def a_position_goes_back_with_a_new_owner() -> History:
    entries = a_position_goes_back()
    index = where(entries, "committed", group="payment", offset=2)
    down = fact("fault", "run", "bus.down", "broker", 1, 0)
    return [down, *entries[:index], changed(entries[index], epoch=2), *entries[index + 1 :]]


@bug("commit-forward", "payment on validation/0 is committed at 4, and the partition ends at 3")
def a_position_lies_past_the_end() -> History:
    entries = plain()
    index = where(entries, "committed", group="payment")
    return after(entries, index, changed(entries[index], offset=4))


@bug("one-owner", "payment-1 and payment-2 of payment both own orders/0 under epoch 1")
def two_members_own_a_partition() -> History:
    entries = plain()
    index = where(entries, "owned", group="payment")
    return after(entries, index, changed(entries[index], process="payment-2"))


@bug("one-owner", "payment-1 had records of validation/0, which is not its own in epoch 1")
def a_member_reads_a_partition_that_it_was_not_given() -> History:
    return spoiled(plain(), "owned", {"partitions": ("orders/0",)}, group="payment")


@bug("commit-prefix", "notification on orders/0 is committed at 6, and offset 2 was never settled")
def a_commit_passes_a_record_that_is_never_settled() -> History:
    return without(
        plain(),
        lambda e: e["kind"] == "settle" and e["group"] == "notification" and e["offset"] == 2,
        lambda e: e["kind"] == "position",
    )


@bug("commit-prefix", "notification on orders/0 was to be committed at 6, and offset 2 was not")
def a_position_is_told_before_all_below_it_is_settled() -> History:
    entries = plain()
    settled = where(entries, "settle", group="notification", topic="orders", offset=2)
    told = where(entries, "position", group="notification", topic="orders")
    return moved(entries, settled, told)


@bug("fenced", "a commit of epoch 1 was accepted after one of epoch 2")
def a_commit_of_a_superseded_generation_is_accepted() -> History:
    entries = plain()
    index = where(entries, "committed", group="payment")
    before = changed(entries[index], epoch=2)
    return after(entries, index - 1, before)


@bug("fenced", "payment-1 settled validation/0 offset 2 under epoch 1 after it had lost")
def a_settlement_of_an_old_epoch_counts() -> History:
    entries = plain()
    owned = entries[where(entries, "owned", group="payment")]
    index = where(entries, "settle", subject=SUBJECT, group="payment")
    return after(entries, index - 1, changed(owned, epoch=2, t_us=time_of(entries[index])))


@bug("fenced", "after another owner had taken it over")
def a_claim_is_completed_by_its_old_owner() -> History:
    entries = plain()
    event = event_id(SUBJECT, "OrderValidated")
    index = where(entries, "claim", group="payment", event_id=event)
    taken = changed(entries[index], process="payment-2", state="takeover", fence=999)
    return after(entries, index, taken)


@bug("fenced", "after another owner had taken it over")
def a_claim_is_given_back_by_its_old_owner() -> History:
    entries = a_claim_is_completed_by_its_old_owner()
    event = event_id(SUBJECT, "OrderValidated")
    return spoiled(entries, "complete", {"kind": "unclaim"}, group="payment", event_id=event)


# ---- dead letters and retries


# ---- decisions and excuses


@bug("decided-as-told", "order 37: it is VALIDATED, and warehouse said nothing")
def the_warehouse_is_not_asked() -> History:
    return without(
        plain(),
        lambda e: (
            (e["kind"], e.get("provider"), e["subject"]) == ("answered", "warehouse", SUBJECT)
        ),
    )


@bug("decided-as-told", "order 37: it is VALIDATED, and customers said nothing")
def the_record_of_the_customer_is_not_read() -> History:
    return without(plain(), lambda e: e.get("provider") == "customers" and e["subject"] == SUBJECT)


@bug("decided-as-told", "order 37: it is VALIDATED, and antifraud said fraud")
def an_objection_is_not_heard() -> History:
    told: dict[str, object] = {"answer": "fraud"}
    return spoiled(plain(), "answered", told, subject=SUBJECT, provider="antifraud")


@bug("decided-as-told", "order 37: it is VALIDATED, and antifraud said nothing but 503")
def a_failure_is_taken_for_a_yes() -> History:
    told: dict[str, object] = {"answer": "503"}
    return spoiled(plain(), "answered", told, subject=SUBJECT, provider="antifraud")


@bug("decided-as-told", "order 37: the warehouse was asked about other goods than the customer's")
def the_warehouse_is_asked_about_other_goods() -> History:
    told: dict[str, object] = {"items": "others"}
    return spoiled(plain(), "answered", told, subject=SUBJECT, provider="warehouse")


@bug("decided-as-told", "order 37: antifraud was asked about customer C-2; the customer is C-1")
def antifraud_is_asked_about_somebody_else() -> History:
    told: dict[str, object] = {"customer": "C-2"}
    return spoiled(plain(), "answered", told, subject=SUBJECT, provider="antifraud")


@bug("decided-as-told", "order 37: the record of customer C-2 was read; the customer is C-1")
def the_record_of_somebody_else_is_read() -> History:
    return spoiled(plain(), "call.end", {"key": "C-2"}, subject=SUBJECT, provider="customers")


@bug("decided-as-told", "it is VALIDATED, and customers said customer_blocked")
def a_blocked_customer_may_buy() -> History:
    entries = plain()
    return after(entries, 0, ("blocked", 0, "store", "", CUSTOMER))


@bug("decided-as-told", "order 37: it is REJECTED for fraud, and the answers say: nobody objected")
def an_order_is_rejected_for_nothing() -> History:
    decision: dict[str, object] = {"state": "REJECTED", "reason": "fraud"}
    return spoiled(plain(), "row", decision, subject=SUBJECT, state="VALIDATED")


@bug("decided-as-told", "order 37: it is REJECTED for fraud, and the answers say: out_of_stock")
def an_order_is_rejected_for_another_reason() -> History:
    told: dict[str, object] = {"answer": "out_of_stock"}
    entries = an_order_is_rejected_for_nothing()
    return spoiled(entries, "answered", told, subject=SUBJECT, provider="warehouse")


@bug("excuse-earned", "order 37: validation gave up OrderCreated as poison, and no fault had")
def what_nothing_had_spoiled_is_called_poison() -> History:
    return without(buried(), lambda e: e["kind"] == "fault")


@bug("excuse-earned", "order 37: validation gave up OrderCreated as poison, and no fault had")
def what_had_spoiled_another_event_is_the_excuse() -> History:
    return spoiled(buried(), "fault", {"site": "OrderCancelled"})


@bug("excuse-earned", "order 37: validation gave up OrderCreated as permanent, and nobody outside")
def nobody_had_refused_it_for_good() -> History:
    return spoiled(buried(), "buried", {"reason": "permanent"}, group="validation")


@bug("excuse-earned", "order 37: validation gave up OrderCreated for its starts, and no process")
def no_process_had_died() -> History:
    return spoiled(buried(), "buried", {"reason": "starts"}, group="validation")


@bug("excuse-earned", "order 37: validation gave up OrderCreated after attempt 1 of 6")
def the_first_attempt_is_the_last() -> History:
    return spoiled(buried(), "buried", {"reason": "exhausted"}, group="validation")


@bug("excuse-earned", "order 37: validation gave up OrderCreated and said nowhere why")
def nobody_says_why() -> History:
    return without(buried(), lambda e: e["kind"] in ("fault", "buried"))


@bug("excuse-earned", "order 37: it is CANCELLED, and no client asked for that")
def nobody_asked_for_the_cancellation() -> History:
    return without(cancelled(), lambda e: e.get("op") == "cancel" and e["kind"] == "http.begin")


@bug("excuse-earned", "order 37: it is PAYMENT_UNKNOWN, and payment never gave up OrderValidated")
def an_order_is_put_aside_for_nothing() -> History:
    return spoiled(plain(), "row", {"state": "PAYMENT_UNKNOWN"}, subject=SUBJECT, state="PAID")


@bug("dlq-sound", "order 37: a dead letter in orders.validation.dlq is not the record that stands")
def a_dead_letter_has_other_bytes() -> History:
    return spoiled(buried(), "appended", {"digest": "other"}, topic="orders.validation.dlq")


@bug("dlq-sound", "order 37: a dead letter in orders.validation.dlq, and the event is not dead")
def a_dead_letter_of_an_event_that_is_handled() -> History:
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT, event_type="OrderCreated")
    return after(entries, index, changed(entries[index], topic="orders.validation.dlq"))


@bug("dlq-sound", "order 37: OrderCreated is done and dead in validation")
def an_event_is_buried_after_it_was_done() -> History:
    entries = plain()
    event = event_id(SUBJECT, "OrderCreated")
    index = where(entries, "outcome", group="validation", event_id=event)
    return after(entries, index, changed(entries[index], outcome="dead"))


# ---- traces


TRACE: Final = traceparent(SUBJECT, "OrderCreated")
OTHER: Final = traceparent("1.1", "OrderCreated")


def _published(change: dict[str, object], kind: str = "PaymentCaptured") -> History:
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type=kind)


@bug("trace-complete", "order 37: PaymentCaptured in payments is in another trace than the first")
def a_service_starts_a_trace_of_its_own() -> History:
    trace_id = f"{1:032x}"
    given = traceparent(SUBJECT, "PaymentCaptured")
    return _published({"traceparent": f"00-{trace_id}{given[35:]}"})


@bug("trace-complete", "PaymentCaptured in payments is published under a span that is not its own")
def an_event_has_the_span_of_its_cause() -> History:
    return _published({"traceparent": traceparent(SUBJECT, "OrderValidated")})


@bug("trace-complete", "order 37: PaymentCaptured in payments has no traceparent")
def an_event_has_no_traceparent() -> History:
    return _published({"traceparent": ""})


@bug("trace-complete", "order 37: OrderCreated in orders has a malformed traceparent: 00-000")
def a_trace_id_is_all_zeros() -> History:
    return _published({"traceparent": f"00-{0:032x}{TRACE[35:]}"}, "OrderCreated")


@bug("trace-complete", "order 37: OrderCreated in orders has a malformed traceparent: 01-")
def a_traceparent_of_a_version_that_nobody_knows() -> History:
    return _published({"traceparent": f"01{TRACE[2:]}"}, "OrderCreated")


@bug("trace-complete", "order 37: PaymentCaptured in payments has a malformed traceparent: 00-")
def a_traceparent_has_no_flags() -> History:
    return _published({"traceparent": traceparent(SUBJECT, "PaymentCaptured")[:-3]})


@bug("trace-complete", "order 37: PaymentCaptured in payments names no cause")
def an_event_has_no_cause() -> History:
    return _published({"cause_id": ""})


@bug(
    "trace-complete", "order 37: PaymentCaptured in payments names a cause that stands in no topic"
)
def an_event_names_what_never_happened() -> History:
    return _published({"cause_id": "forged"})


@bug(
    "trace-complete", "order 37: PaymentCaptured in payments names a cause that stands in no topic"
)
def an_event_names_its_order_for_its_cause() -> History:
    return _published({"cause_id": f"id-{SUBJECT}"})


@bug(
    "trace-complete", "order 37: PaymentCaptured in payments names a cause that stands in no topic"
)
def an_event_names_the_event_of_another_order() -> History:
    return _published({"cause_id": event_id("1.1", "OrderValidated")})


@bug("trace-complete", "order 37: PaymentCaptured in payments names OrderCreated as its cause")
def an_event_names_the_cause_of_its_cause() -> History:
    return _published({"cause_id": event_id(SUBJECT, "OrderCreated")})


@bug("trace-complete", "order 37: OrderCreated in orders names a cause that is not its order")
def an_order_is_created_for_another_one() -> History:
    return _published({"cause_id": "id-1.1"}, "OrderCreated")


@bug("trace-complete", "order 37: OrderCancelled in orders names a cause that is not its order")
def a_request_about_an_order_names_another_one() -> History:
    entries = without(cancelled(), lambda e: e["kind"] == "http.end")
    return spoiled(entries, "appended", {"cause_id": "id-1.1"}, event_type="OrderCancelled")


@bug("trace-complete", "order 37: OrderValidated in validation has another traceparent than in val")
def an_event_is_published_again_in_another_trace() -> History:
    return _again({"traceparent": OTHER})


@bug("trace-complete", "order 37: OrderValidated in validation names another cause than in valida")
def an_event_is_published_again_for_another_reason() -> History:
    return _again({"cause_id": f"id-{SUBJECT}"})


def _again(change: dict[str, object]) -> History:
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT, event_type="OrderValidated")
    return after(entries, index, changed(entries[index], offset=99, **change))


def _long_after(kind: str, change: dict[str, object]) -> History:
    """A copy of an event, published when its order has been judged and packed."""
    entries = plain()
    copy = entries[where(entries, "appended", subject=SUBJECT, event_type=kind)]
    ticks = [("phase", at * S, "run", "", "faults") for at in (300, 600, 900)]
    copy = changed(copy, offset=99, t_us=900 * S, **change)
    return after(entries, where(entries, "phase", name="heal") - 1, *ticks, copy)


@bug("trace-complete", "order 37: OrderCreated in orders.validation.dlq has no traceparent")
def a_dead_letter_has_lost_its_trace() -> History:
    return spoiled(buried(), "appended", {"traceparent": ""}, topic="orders.validation.dlq")


@bug(
    "trace-complete", "OrderCreated in orders.validation.retry.1 has another traceparent than in o"
)
def a_retry_starts_a_trace_of_its_own() -> History:
    return spoiled(retried(), "appended", {"traceparent": OTHER}, topic="orders.validation.retry.1")


@bug("trace-complete", "OrderCreated in orders.validation.retry.1 names another cause than in ord")
def a_retry_names_itself_for_its_cause() -> History:
    cause: dict[str, object] = {"cause_id": event_id(SUBJECT, "OrderCreated")}
    return spoiled(retried(), "appended", cause, topic="orders.validation.retry.1")


def _told_at(kind: str, moved_us: int, told: Callable[[], History] = plain) -> History:
    """An event whose time differs so much from the one that it had."""
    entries = told()
    index = where(entries, "appended", subject=SUBJECT, event_type=kind)
    decided_us = AppendedEntry._make(entries[index]).decided_us + moved_us
    return spoiled(
        entries, "appended", {"decided_us": decided_us}, subject=SUBJECT, event_type=kind
    )


@bug("times-told", "OrderCreated in orders says that it was decided 0.002s before its cause was kn")
def an_order_is_created_before_it_is_asked_for() -> History:
    return _told_at("OrderCreated", -4 * MS)


@bug("times-told", "OrderCreated in orders says that it was decided 0.002s after its commit")
def an_event_has_the_time_of_its_publication() -> History:
    return _told_at("OrderCreated", 2 * MS)


@bug(
    "times-told", "PaymentCaptured in payments says that it was decided 0.001s before its cause wa"
)
def an_event_is_older_than_the_one_that_led_to_it() -> History:
    entries = plain()
    cause = {"subject": SUBJECT, "event_type": "OrderValidated"}
    decided_us = time_of(entries[where(entries, "appended", **cause)]) - MS
    which = {"subject": SUBJECT, "event_type": "PaymentCaptured"}
    return spoiled(entries, "appended", {"decided_us": decided_us}, **which)


@bug(
    "times-told", "OrderCancelled in orders says that it was decided 0.001s before its cause was k"
)
def a_cancel_is_older_than_its_request() -> History:
    return _told_at("OrderCancelled", -2 * MS, cancelled)


@bug(
    "times-told", "OrderExpired in orders says that it was decided 1.998s before its cause was kno"
)
def an_order_expires_by_its_event_before_its_time() -> History:
    return _told_at("OrderExpired", -2 * S, expired)


@bug("times-told", "OrderConfirmed in orders does not say when it was decided")
def an_event_has_no_time() -> History:
    which = {"subject": SUBJECT, "event_type": "OrderConfirmed"}
    return spoiled(plain(), "appended", {"decided_us": NO_TIME}, **which)


def _told_expiry(kind: str, expires_us: int) -> History:
    which = {"subject": SUBJECT, "event_type": kind}
    return spoiled(plain(), "appended", {"expires_us": expires_us}, **which)


@bug("times-told", "OrderValidated in validation does not say when its order expires")
def nobody_learns_when_an_order_expires() -> History:
    return _told_expiry("OrderValidated", NO_TIME)


@bug("times-told", "OrderValidated in validation says that its order expires at 0.005s; its time i")
def an_order_expires_at_once_by_its_event() -> History:
    return _told_expiry("OrderValidated", 5 * MS)


@bug("times-told", "OrderValidated in validation asks for its payment 1.000s after its time was up")
def an_expired_order_is_validated() -> History:
    entries = plain()
    created_us = time_of(entries[where(entries, "row", subject=SUBJECT, version=1)])
    late: dict[str, object] = {"t_us": created_us + CONTRACT.expiry_us + 2 * S}
    index = where(entries, "appended", subject=SUBJECT, event_type="OrderValidated")
    told = {"decided_us": created_us + CONTRACT.expiry_us + S}
    entries[index] = changed(entries[index], **told)
    return spoiled(entries, "row", late, subject=SUBJECT, version=2)


@bug("times-told", "PaymentCaptured in payments says that its order expires, and it does not any m")
def a_paid_order_expires_by_its_event() -> History:
    return _told_expiry("PaymentCaptured", 86_400 * S)


@bug("dlq-sound", "order 37: a dead letter tells of 6 attempts; 1 were seen")
def a_dead_letter_tells_of_attempts_that_were_never_made() -> History:
    return spoiled(buried(), "buried", {"attempts": 6}, group="validation")


@bug("dlq-complete", "order 37: OrderCreated is dead in validation and in no DLQ of it")
def a_dead_event_stands_in_no_queue() -> History:
    return without(buried(), lambda e: e.get("topic") == "orders.validation.dlq")


@bug("dlq-complete", "order 37: validation goes on with OrderCreated beyond its attempts")
def an_event_is_tried_for_ever() -> History:
    entries = plain()
    index = where(entries, "deliver", subject=SUBJECT, group="validation")
    return spoiled(entries, "deliver", {"attempt": 7}, t_us=time_of(entries[index]))


@bug("retry-law", "order 37: backoff of 0.101s after attempt 1")
def a_backoff_is_longer_than_it_may_be() -> History:
    return spoiled(retried(), "retrying", {"delay_us": 101 * MS}, where="in_place")


@bug("retry-law", "order 37: a delay of 6.000s through retry topic 1")
def a_retry_topic_has_another_delay() -> History:
    return spoiled(retried(), "retrying", {"delay_us": 6 * S}, where="tier.1")


@bug("retry-law", "order 37: tried again after Permanent")
def a_permanent_error_is_tried_again() -> History:
    return spoiled(retried(), "retrying", {"error_class": "Permanent"}, where="in_place")


@bug("retry-law", "order 37: validation made attempt 3 2.")
def a_retry_topic_is_read_too_early() -> History:
    entries = retried()
    index = where(entries, "handle.begin", attempt=3)
    t_us = time_of(entries[index])
    return spoiled(entries, "handle.begin", {"t_us": t_us - 2 * S - 500 * MS}, attempt=3)


@bug("retry-law", "order 37: validation-1 tried again 0.05")
def a_retry_in_place_does_not_wait() -> History:
    entries = retried()
    index = where(entries, "deliver", attempt=2)
    t_us = time_of(entries[index])
    return spoiled(entries, "deliver", {"t_us": t_us - 60 * MS}, attempt=2)


@bug("retry-law", "order 37: validation-1 tried again 0.")
def a_hint_is_not_honoured() -> History:
    entries = plain()
    index = where(entries, "deliver", subject=SUBJECT, group="validation")
    delivered = DeliverEntry._make(entries[index])
    *head, _, _, _ = changed(delivered, kind="settle")
    again = changed(delivered, t_us=delivered.t_us + 900 * MS)
    return after(entries, index, (*head, "retry", "", S), again)


@bug("retry-law", "order 37: validation made attempt 7 of 6")
def more_attempts_than_the_policy_has() -> History:
    return spoiled(retried(), "handle.begin", {"attempt": 7}, attempt=3)


@bug("retry-law", "order 37: validation made 13 attempts at one event")
def a_retry_that_counts_from_the_beginning_each_time() -> History:
    entries = retried()
    failed = entries[where(entries, "handle.end", attempt=1)]
    return after(entries, where(entries, "handle.end", attempt=1), *[failed] * 11)


@bug("retry-law", "order 37: validation made 8 attempts at one event")
def one_cancelled_delivery_is_an_excuse_for_two_attempts() -> History:
    return _cancelled_once(failures=8)


def _cancelled_once(*, failures: int) -> History:
    entries = retried()
    index = where(entries, "handle.end", attempt=1)
    cancel = ("fault", time_of(entries[index]), "run", SUBJECT, "proc.cancel", "validation", 1, 0)
    return after(entries, index, *[entries[index]] * (failures - 2), cancel)


def _backlog(
    turn_us: int, *, records: int = 1_200, other_retries_every: int = 0, first: int = 0
) -> History:
    """A retry through a retry topic has its turn then, behind a backlog of its main topic.

    Every so many of the records are retries of another tier, from the `first` one on.
    """
    entries = retried()
    index = where(entries, "deliver", topic="orders.validation.retry.1")
    alarm = entries[index]
    other = changed(alarm, subject="1.1", topic="validation", event_id="e")
    due_us = time_of(alarm)
    settle = ("settle", due_us, "validation-1", "1.1", "validation", "validation", 0)
    backlog: History = []
    for n in range(records):
        t_us = due_us + n * (turn_us - due_us) // records
        is_retry = other_retries_every and n % other_retries_every == first
        topic = "orders.validation.retry.2" if is_retry else "validation"
        settled = changed((*settle, n, 1, "e", "ack", "handled", 0), t_us=t_us, topic=topic)
        backlog += [changed(other, t_us=t_us, offset=n, topic=topic), settled]
    return [*entries[:index], *backlog, changed(alarm, t_us=turn_us), *entries[index + 1 :]]


@bug("retry-in-time", "order 37: a retry in validation-1 was due at 5.")
def a_retry_waits_behind_the_backlog_of_its_main_topic() -> History:
    return _backlog(90 * S)


@pytest.mark.parametrize("first", range(4))
def test_a_retry_waits_behind_a_backlog_every_fourth_record_of_which_is_another_retry(
    first: int,
) -> None:
    # Marks of progress that only records of main topics make, each 64th, would never be made.
    entries = _backlog(90 * S, records=2_400, other_retries_every=4, first=first)
    finding = judge(entries)["retry-in-time"]
    assert (finding.verdict, finding.witness[:38]) == (
        "FAIL",
        "order 37: a retry in validation-1 was ",
    )


def test_a_retry_behind_as_many_retries_as_records_of_its_main_topic_is_in_time() -> None:
    entries = _backlog(90 * S, records=2_400, other_retries_every=2)
    assert judge(entries)["retry-in-time"].verdict == "PASS"


def test_a_retry_that_is_a_little_late_is_in_time() -> None:
    assert judge(_backlog(15 * S))["retry-in-time"].verdict == "PASS"


def test_a_retry_may_wait_with_everything_else() -> None:
    entries = [entry for entry in _backlog(90 * S) if changed(entry, t_us=0)[3] != "1.1"]
    finding = judge(entries)["retry-in-time"]
    assert (finding.verdict, finding.checked) == ("PASS", 1)


def test_a_retry_may_wait_while_the_broker_cannot_be_reached() -> None:
    down = ("fault", 1, "run", "", "bus.down", "", 1, 0)
    assert judge(after(_backlog(90 * S), 0, down))["retry-in-time"].verdict == "PASS"


@bug("retry-budget", "retries in place that its budget did not cover")
def retries_in_place_without_a_budget() -> History:
    entries = retried()
    index = where(entries, "retrying", where="in_place")
    return after(entries, index, *[entries[index]] * 40)


@bug("retry-budget", "payment-1 gave up 27 events in a row and did not pause")
def nobody_notices_that_everything_dies() -> History:
    entries = plain()
    index = where(entries, "handle.begin", group="payment")
    t_us = time_of(entries[index])
    dead = ("buried", t_us, "payment-1", SUBJECT, "payment", "e", "permanent", 1, 0, 0)
    return after(entries, index, *[dead] * 27)


@bug("breaker-law", "payment-1 made 1 call to a dependency that was down")
def a_call_through_an_open_breaker() -> History:
    entries = outage()
    index = where(entries, "breaker", state="open")
    t_us = time_of(entries[index])
    last = entries[where(entries, "call.end", action="query")]
    return after(entries, index, changed(last, t_us=t_us + S, took_us=MS, result="Transient"))


@bug("breaker-law", "payment-1 made 5 calls to a dependency that was down")
def a_third_party_is_hammered_while_it_is_down() -> History:
    story = Story()
    story.order(SUBJECT)
    story.wait(20 * S)
    for _ in range(15):
        story.call("payment-1", SUBJECT, "payment_gateway", "query", result="Transient")
    return story.end()


@bug("retry-law", "order 37: validation made attempt 3, and attempt 2 never failed")
def an_attempt_is_counted_that_no_handler_made() -> History:
    return without(retried(), lambda e: e["kind"] == "handle.end" and e["attempt"] == 2)


@bug("retry-law", "order 37: validation made attempt 2, and attempt 1 never failed")
def a_release_is_counted_as_an_attempt() -> History:
    return spoiled(retried(), "handle.end", {"result": "Down"}, attempt=1)


@bug("retry-law", "order 37: validation made attempt 3, and attempt 2 never failed after its redr")
def a_redriven_event_goes_on_where_it_died() -> History:
    return spoiled(retried(), "handle.begin", {"redrives": 1}, attempt=3)


@bug("retry-law", "order 37: moved to tier.2 instead of tier.1 after attempt 2")
def a_retry_topic_is_passed_over() -> History:
    entries = retried()
    t_us = time_of(entries[where(entries, "handle.begin", attempt=3)])
    entries = spoiled(entries, "handle.begin", {"t_us": t_us + 30 * S}, attempt=3)
    change: dict[str, object] = {"where": "tier.2", "delay_us": 30 * S}
    return spoiled(entries, "retrying", change, where="tier.1")


@bug("retry-law", "order 37: tried again in place after attempt 3")
def an_event_stays_in_place_beyond_its_attempts_there() -> History:
    entries = retried()
    change: dict[str, object] = {"attempt": 3}
    entries = spoiled(entries, "handle.begin", {"attempt": 4}, attempt=3)
    entries = spoiled(entries, "handle.end", change, attempt=2)
    change |= {"where": "in_place", "delay_us": 80 * MS}
    return spoiled(entries, "retrying", change, where="tier.1")


@bug("dlq-sound", "order 37: a dead letter gives `ValueError` as its reason")
def a_letter_tells_the_error_as_its_reason() -> History:
    return spoiled(buried(), "letter", {"reason": "ValueError"}, group="validation")


@bug("retry-law", "order 37: validation gave OrderCreated up after attempt 1 of 6")
def an_event_is_given_up_with_attempts_left() -> History:
    return spoiled(buried(), "letter", {"reason": "exhausted"}, group="validation")


@bug("retry-law", "order 37: tried again after attempt 3 at what nobody can classify")
def a_bug_of_a_handler_is_tried_for_ever() -> History:
    entries = retried()
    change: dict[str, object] = {"attempt": 3, "error_class": "Unclassified"}
    entries = spoiled(entries, "handle.begin", {"attempt": 4}, attempt=3)
    entries = spoiled(entries, "handle.end", {"attempt": 3, "result": "Unclassified"}, attempt=2)
    return spoiled(entries, "retrying", change, where="tier.1")


@bug("retry-law", "order 37: a charge was sent again under its key in attempt 3")
def a_charge_is_repeated_and_nobody_asks() -> History:
    entries = retried()
    index = where(entries, "handle.begin", attempt=3)
    sent = ("payment_gateway", "charge", charge_key(SUBJECT), 0)
    t_us = time_of(entries[index])
    call = ("call.begin", t_us, "validation-1", SUBJECT, *sent)
    return after(entries, index, changed(call, t_us=t_us - S), call)


def _asked(*actions: str, attempt: int = 1, conflict: bool = False) -> History:
    """A charge in whose run the gateway is called for these, one after the other."""
    entries = spoiled(plain(), "handle.begin", {"attempt": attempt}, **_CHARGING)
    index = where(entries, "call.begin", subject=SUBJECT, action="charge")
    first = entries[index]
    entries = [*entries[:index], *entries[index + 1 :]]
    calls = [changed(first, action=action) for action in actions]
    if conflict:
        fields = ("payment", event_id(SUBJECT, "OrderValidated"), True, "conflict")
        calls.insert(1, ("commit.end", time_of(first), "payment-1", SUBJECT, *fields))
    entries = after(entries, index - 1, *calls)
    if attempt == 1:
        return entries
    index = where(entries, "handle.begin", **_CHARGING)
    event = event_id(SUBJECT, "OrderValidated")
    failed = ("payment", event, "OrderValidated", attempt - 1, "Transient", 0)
    ended = ("handle.end", time_of(entries[index]), "payment-1", SUBJECT, *failed)
    return after(entries, index - 1, ended)


_CHARGING: Final[dict[str, object]] = {"subject": SUBJECT, "group": "payment"}


@bug("retry-law", "order 37: a charge was sent although the same run had its answer already")
def a_charge_is_sent_twice_in_one_run() -> History:
    return _asked("charge", "charge")


@bug("retry-law", "order 37: the gateway was asked although the same run had its answer already")
def an_answer_is_asked_for_once_more() -> History:
    return _asked("charge", "query")


@bug("retry-law", "order 37: the gateway was asked in attempt 1, which may send again")
def an_early_attempt_asks() -> History:
    return _asked("query", "charge")


@bug("retry-law", "order 37: the gateway was asked about money that was not announced")
def nothing_is_announced_and_somebody_asks() -> History:
    return without(
        _asked("query", attempt=3), lambda e: e["kind"] == "intent" and e["subject"] == SUBJECT
    )


@bug("retry-law", "order 37: the gateway was asked although the same run had its answer already")
def a_question_is_asked_twice() -> History:
    return _asked("query", "query", attempt=3)


def test_a_late_attempt_asks_and_then_sends_and_a_rival_is_an_excuse_for_another_round() -> None:
    assert judge(_asked("query", "charge", attempt=3))["retry-law"].violations == 0
    again = _asked("query", "query", attempt=3, conflict=True)
    assert judge(again)["retry-law"].violations == 0


def test_whoever_may_not_send_asks() -> None:
    """A cancel that came before the run: the charge is only asked about."""
    entries = _asked("query")
    paid = where(entries, "row", subject=SUBJECT, state="PAID")
    begun_us = time_of(entries[where(entries, "handle.begin", **_CHARGING)])
    cancelled_row = changed(entries[paid], state="CANCELLED", t_us=begun_us - 1)

    entries = [*entries[:paid], cancelled_row, *entries[paid + 1 :]]
    assert judge(entries)["retry-law"].violations == 0


@bug("retry-law", "no jitter: 12 of 12 delays after attempt 1 were 0.080s")
def everybody_comes_back_together() -> History:
    return _delays([80 * MS] * 12)


@bug("retry-law", "no jitter: all 40 delays in place lay in the upper half")
def jitter_adds_to_half_of_the_backoff() -> History:
    return _delays([50 * MS + n * MS for n in range(40)])


def _delays(delays: list[int]) -> History:
    """One retry in place a delay, each of another event."""
    entries = retried()
    index = where(entries, "retrying", where="in_place")
    failed = entries[where(entries, "handle.end", attempt=1)]
    more: list[Entry] = []
    for n, delay_us in enumerate(delays):
        event = {"event_id": f"event {n}"}
        more += (
            changed(failed, **event),
            changed(entries[index], **event, delay_us=delay_us),
        )
    return after(without(entries[:index]), index - 1, *more) + entries[index + 1 :]


@bug("retry-budget", "validation-1 moved 1 event to a retry topic that its budget covered in place")
def a_retry_topic_is_used_although_there_are_tokens() -> History:
    entries = retried()
    failed = entries[where(entries, "call.end", provider="warehouse", result="Transient")]
    index = where(entries, "handle.begin", attempt=2)
    return after(entries, index, failed)


@bug("breaker-law", "payment-1: payment_gateway was cut off before enough of its calls had failed")
def a_breaker_opens_for_answers() -> History:
    entries = outage()
    for _ in range(6):
        index = where(entries, "call.end", action="query", result="Indeterminate")
        entries[index] = changed(entries[index], result="Permanent")
    return entries


@bug("breaker-law", "payment-1: payment_gateway was found to be up by a probe that failed")
def a_breaker_closes_although_its_probe_failed() -> History:
    entries = outage()
    begun = where(entries, "breaker", state="half_open")
    probe = where(entries[begun:], "call.end", action="query") + begun
    entries[probe] = changed(entries[probe], result="Transient")
    return entries


@bug("breaker-law", "payment-1: payment_gateway was let in again without a probe")
def a_breaker_closes_by_itself() -> History:
    return spoiled(outage(), "breaker", {"state": "closed"}, state="half_open")


@bug("claim-returned", "order 37: validation-1 kept its claim of Ord")
def a_failed_run_keeps_its_claim() -> History:
    entries = retried()
    event = event_id(SUBJECT, "OrderCreated")
    claim = ("claim", 0, "validation-1", "", "validation", event, "acquired", 1)
    return after(entries, where(entries, "deliver", attempt=1), claim)


def claimed_twice(state: str, after_us: int) -> History:
    """Another process is given the claim of an event whose run goes on for 3 s more."""
    entries = plain()
    event = event_id(SUBJECT, "OrderValidated")
    index = where(entries, "claim", group="payment", event_id=event)
    claim = entries[index]
    end = where(entries, "complete", group="payment", event_id=event)
    t_us = time_of(claim) + after_us
    again = changed(claim, process="payment-2", state=state, fence=999, t_us=t_us)
    ended = changed(entries[end], t_us=t_us + 3 * S)
    return [*entries[: index + 1], again, *entries[index + 1 : end], ended, *entries[end + 1 :]]


@bug("claim-returned", "payment-2 was given the claim of ")
def a_claim_is_taken_over_before_its_lease_is_over() -> History:
    return claimed_twice("takeover", 2 * S)


@bug("claim-returned", " in payment 2.000s after payment-1, whose lease was not over")
def two_are_granted_one_claim() -> History:
    return claimed_twice("acquired", 2 * S)


TRUTH: Final = ("CONFIRMED", 4, 1_020, "EUR", 0, False)


def looked_at(*truth: object, revenue: int = 1_020, later_us: int = 0) -> History:
    """At the end the tables of the store are read: the order, and the revenue."""
    entries = plain()
    t_us = time_of(entries[-1]) + later_us
    told = sum(kind_of(one) == "revenue" and subject_of(one) != SUBJECT for one in entries) * 1_020
    return [
        *entries,
        ("order_truth", t_us, "store", SUBJECT, *truth),
        ("revenue_truth", t_us, "store", "", "EUR", told + revenue),
    ]


@bug("legal-transitions", "the store has it PAID in version 3 at the end; its last change made it")
def a_change_is_told_of_and_not_made() -> History:
    return looked_at("PAID", 3, *TRUTH[2:])


@bug("legal-transitions", "order 37: the store has 1 open intents of it, and told of another end")
def an_intent_is_never_closed_in_its_table() -> History:
    return looked_at(*TRUTH[:4], 1, False)


@bug("legal-transitions", "order 37: it is CONFIRMED, and the store would let it expire")
def an_order_that_is_paid_stays_among_those_that_expire() -> History:
    return looked_at(*TRUTH[:5], True)


@bug("as-ordered", "the store has a revenue of 1020 minor units of EUR at the end, and told of ")
def revenue_is_overwritten_instead_of_added_to() -> History:
    return [*looked_at(*TRUTH)[:-1], ("revenue_truth", 0, "store", "", "EUR", 1_020)]


@bug("dlq-complete", "order 37: no dead letter of validation tells of death 2 of OrderCreated")
def a_second_death_is_told_as_the_first() -> History:
    entries = buried()
    index = where(entries, "outcome", group="validation")
    return after(entries, index, changed(entries[index], redrives=1))


@bug("dlq-sound", "order 37: a dead letter of validation says that it was sent back 2 times")
def a_letter_tells_of_a_death_that_never_was() -> History:
    return spoiled(buried(), "letter", {"redrives": 2}, group="validation")


@bug("dlq-sound", "order 37: a dead letter tells of 1 attempts; 2 were made")
def a_letter_forgets_attempts() -> History:
    entries = buried()
    event = event_id(SUBJECT, "OrderCreated")
    run = ("validation", event, "OrderCreated", 2, "Poison", 0)
    index = where(entries, "deliver", group="validation")
    return after(entries, index, ("handle.end", 0, "validation-1", SUBJECT, *run))


# ---- time


@bug("expiry-in-time", "order 37: it expired 3599.999s before its time")
def an_order_expires_an_hour_too_soon() -> History:
    entries = expired()
    t_us = time_of(entries[where(entries, "row", state="EXPIRED")])
    return spoiled(entries, "row", {"t_us": t_us - 3_600 * S}, state="EXPIRED")


@bug("expiry-in-time", "order 37: it expired 60.0")
def the_timer_looks_once_a_minute() -> History:
    entries = expired()
    t_us = time_of(entries[where(entries, "row", state="EXPIRED")])
    return spoiled(entries, "row", {"t_us": t_us + 60 * S}, state="EXPIRED")


@bug("expiry-in-time", "order 37: it had not expired 86")
def the_timer_never_fires() -> History:
    story = Story()
    story.ask(SUBJECT)
    story.validate(SUBJECT)
    story.wait(2 * 86_400 * S)
    return story.end()


@bug("expiry-in-time", "order 37: a charge was announced 60.")
def a_charge_is_announced_after_the_expiry() -> History:
    entries = expired()
    index = where(entries, "row", state="EXPIRED")
    late = changed(
        entries[where(entries, "intent", op="open")],
        op="raise",
        t_us=time_of(entries[index]) + 60 * S,
    )
    return after(entries, index, late)


@bug("expiry-in-time", "order 37: a charge was sent 58.")
def a_charge_is_sent_after_the_expiry() -> History:
    entries = expired()
    index = where(entries, "row", state="EXPIRED")
    late = changed(
        entries[where(entries, "call.begin", action="charge")],
        t_us=time_of(entries[index]) + 60 * S,
    )
    return after(entries, index, late)


@bug("expiry-in-time", "order 37: it was charged 58.")
def money_is_taken_after_the_expiry_and_nobody_had_asked() -> History:
    entries = expired()
    index = where(entries, "row", state="EXPIRED")
    late = ("payment_gateway", "capture", "charge:other", "", 1_020, "EUR")
    return after(
        entries, index, ("ledger", time_of(entries[index]) + 60 * S, "ledger", SUBJECT, *late)
    )


# ---- processes


@bug("bounded", "payment-1 had 257 deliveries in flight; 256 are allowed")
def too_much_is_in_flight() -> History:
    entries = plain()
    index = where(entries, "deliver", subject=SUBJECT, group="payment")
    return after(entries, index, *[changed(entries[index], offset=99 + n) for n in range(256)])


@bug("bounded", "payment-1 had 17 handlers at work; 16 are allowed")
def too_many_handlers_at_work() -> History:
    entries = plain()
    index = where(entries, "handle.begin", subject=SUBJECT, group="payment")
    others = [changed(entries[index], event_id=f"other-{n}") for n in range(16)]
    return after(entries, index, *others)


@bug("deadline", "order 37: payment_gateway.charge in payment-1 took 2.500s")
def a_call_outlives_its_deadline() -> History:
    return spoiled(plain(), "call.end", {"took_us": 2_500 * MS}, subject=SUBJECT, action="charge")


@bug("deadline", "order 37: payment_gateway.charge in payment-1 was given ")
def a_call_is_given_more_time_than_its_handler() -> History:
    hour_us = 3_600_000 * MS
    return spoiled(
        plain(), "call.begin", {"deadline_us": hour_us}, subject=SUBJECT, action="charge"
    )


@bug("deadline", "order 37: handler of OrderValidated in payment-1 hung for")
def a_handler_hangs() -> History:
    story = Story()
    story.ask(SUBJECT)
    story.validate(SUBJECT)
    fields = (
        "payment",
        event_id(SUBJECT, "OrderValidated"),
        "OrderValidated",
        1,
        2,
        0,
        "orders",
        1,
        "d",
        0,
    )
    story.write("handle.begin", "payment-1", SUBJECT, *fields)
    story.wait(900 * S)
    return story.end()


@bug("deadline", "order 37: handler of OrderValidated in payment-1 took 11.")
def a_handler_overruns_its_deadline() -> History:
    entries = plain()
    index = where(entries, "handle.begin", subject=SUBJECT, group="payment")
    t_us = time_of(entries[index])
    return spoiled(entries, "handle.end", {"t_us": t_us + 11 * S}, subject=SUBJECT, group="payment")


@bug("graceful-shutdown", "validation-1 was told to stop and left 1 delivery unsettled")
def a_process_leaves_in_the_middle_of_its_work() -> History:
    entries = stopped()
    deliver = entries[where(entries, "deliver", group="validation")]
    return after(entries, where(entries, "life", event="term"), changed(deliver, offset=1))


@bug("graceful-shutdown", "1 record that it had settled were started again, OrderCreated first")
def a_process_leaves_without_its_commit() -> History:
    positions = ("position", "committed")
    entries = without(stopped(), lambda e: e["kind"] in positions and e["group"] == "validation")
    deliver = entries[where(entries, "deliver", group="validation")]
    index = where(entries, "owned", process="validation-1#2")
    return after(entries, index, changed(deliver, process="validation-1#2", epoch=2))


@bug("graceful-shutdown", "validation-1 was told to stop and took 1")
def a_process_does_not_stop_in_time() -> History:
    entries = stopped()
    index = where(entries, "life", event="stopped")
    t_us = time_of(entries[index])
    return spoiled(entries, "life", {"t_us": t_us + 13 * S}, event="stopped")


@bug("graceful-shutdown", "validation-1 was told to stop and never ended")
def a_process_ignores_the_signal() -> History:
    return without(stopped(), lambda e: e["kind"] == "life" and e["event"] == "stopped")


@bug("graceful-shutdown", "validation-1 was told to stop and abandoned 1 delivery")
def a_process_throws_its_work_away() -> History:
    return spoiled(stopped(), "drained", {"abandoned": 1})


@bug("no-leak", "1 lease left at the end")
def a_lease_is_never_given_back() -> History:
    return spoiled(plain(), "left", {"count": 1}, what="lease")


# ---- what nobody expects


@bug("no-crash", "order 37: validation raised what nobody expects at OrderCreated")
def a_handler_raises_what_has_no_class() -> History:
    entries = retried()
    failed = where(entries, "handle.end", attempt=1)
    return [
        *entries[:failed],
        changed(entries[failed], result="Unclassified"),
        *entries[failed + 1 :],
    ]


@bug("no-crash", "in its relay")
def a_relay_ends_by_an_error_of_its_own() -> History:
    entries = plain()
    return after(entries, 0, ("failed", time_of(entries[0]), "api-1", "", "relay", "KeyError"))


@bug("no-crash", "payment-1 ended")
def a_process_ends_without_being_told_to() -> History:
    entries = plain()
    return after(entries, len(entries) - 2, ("life", 1 * S, "payment-1", "", "exited"))


# ---- the end


@bug("converges", "order 37: it is VALIDATED at the end")
def an_order_is_stuck() -> History:
    story = Story()
    story.ask(SUBJECT)
    story.validate(SUBJECT)
    story.receive(SUBJECT)
    return story.end()


@bug("converges", "order 37: notification has no outcome for OrderConfirmed at the end")
def an_event_is_never_handled() -> History:
    event = event_id(SUBJECT, "OrderConfirmed")
    return without(
        plain(), lambda e: e.get("group") == "notification" and e.get("event_id") == event
    )


@bug("converges", "order 37: it is PENDING at the end")
def an_order_is_given_up_before_its_attempts_are_used_up() -> History:
    change = {"reason": "exhausted", "attempts": 1}
    return spoiled(buried(), "buried", change, group="validation")


@bug("converges", "order 37: it is CANCELLED with an open intent at the end")
def nobody_knows_whether_a_cancelled_order_was_charged() -> History:
    return without(
        the_capture_of_a_cancelled_order_is_kept(),
        lambda e: e["kind"] == "intent" and e["op"] == "close",
    )


@bug("drains", "3 entries of lag left")
def a_topic_does_not_run_empty() -> History:
    return spoiled(plain(), "left", {"count": 3}, what="lag")


# ---- what the client asked for


@bug("as-ordered", "order 37: its row says 1021 minor units of EUR; the client asked for 1020")
def another_amount_is_stored() -> History:
    return spoiled(plain(), "row", {"amount_cents": 1_021}, subject=SUBJECT, version=1)


@bug("as-ordered", "order 37: its row says 1020.0 minor units of EUR; the client asked for 1020")
def an_amount_is_stored_as_a_float() -> History:
    return spoiled(plain(), "row", {"amount_cents": 1_020.0}, subject=SUBJECT, version=1)


@bug("as-ordered", "order 37: its row says 1020 minor units of USD; the client asked for")
def another_currency_is_stored() -> History:
    return spoiled(plain(), "row", {"currency": "USD"}, subject=SUBJECT, version=1)


@bug("as-ordered", "order 37: its row has another customer or country than the client sent")
def another_customer_is_stored() -> History:
    return spoiled(plain(), "row", {"buyer": "somebody"}, subject=SUBJECT, version=1)


@bug("as-ordered", "order 37: it was stored, and nobody can pay -5 minor units of EUR")
def an_order_of_less_than_nothing_is_stored() -> History:
    return spoiled(plain(), "http.begin", {"amount_cents": -5}, subject=SUBJECT)


@bug("as-ordered", "order 37: it was stored, and nobody can pay 1000000000001 minor units of EUR")
def an_order_of_more_than_is_taken_is_stored() -> History:
    return spoiled(plain(), "http.begin", {"amount_cents": 10**12 + 1}, subject=SUBJECT)


@bug("as-ordered", "order 37: a charge of 510 minor units of EUR was announced; the client asked")
def half_is_announced() -> History:
    return spoiled(plain(), "intent", {"amount_cents": 510}, subject=SUBJECT, op="open")


@bug("as-ordered", "order 37: PaymentCaptured tells of 510 minor units of EUR; the client asked")
def an_event_tells_of_half() -> History:
    change = {"amount_cents": 510}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="PaymentCaptured")


@bug("as-ordered", "order 37: OrderConfirmed tells of -1 minor units of EUR; the client asked")
def an_event_tells_of_no_whole_number() -> History:
    change = {"amount_cents": -1}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="OrderConfirmed")


@bug("as-ordered", "order 37: OrderCreated tells of another customer or country than the client")
def an_event_tells_of_another_customer() -> History:
    change = {"buyer": "somebody"}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="OrderCreated")


@bug("as-ordered", "order 37: OrderCreated tells of other items than the client sent")
def an_event_tells_of_other_items() -> History:
    change = {"items": "one of each"}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="OrderCreated")


@bug("as-ordered", "order 37: OrderValidated tells of another order than the client's")
def an_event_tells_of_another_order() -> History:
    change = {"order_id": "id-1.1"}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="OrderValidated")


@bug("as-ordered", "order 37: OrderValidated cannot be read, and nobody has spoiled it")
def an_event_is_no_json() -> History:
    change = {"order_id": "", "amount_cents": -1}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="OrderValidated")


@bug("as-ordered", "order 37: its revenue was 1020 minor units of USD; the client asked for 1020")
def the_revenue_is_in_another_currency() -> History:
    return spoiled(plain(), "revenue", {"currency": "USD"}, subject=SUBJECT)


@bug("money-matches", "order 37: a capture of 1020 minor units of EUR; the order is 2040 minor")
def the_row_and_the_charge_agree_on_half_of_what_was_asked() -> History:
    return spoiled(plain(), "http.begin", {"amount_cents": 2_040}, subject=SUBJECT)


@bug("refused-for-a-reason", "order 36: it was refused with 422, and not for what it breaks")
def an_order_is_refused_in_which_there_is_no_fault() -> History:
    return spoiled(refused(), "http.end", {"is_unfair": True}, subject="36.1")


@bug("refused-for-a-reason", "order 37: it breaks a rule, and was accepted with 201")
def an_order_is_accepted_that_breaks_a_rule() -> History:
    return spoiled(plain(), "http.end", {"is_unfair": True}, subject=SUBJECT)


@bug("refused-for-a-reason", "order 36: its key was said to stand for another order, and there")
def an_order_is_refused_by_a_key_that_nobody_used() -> History:
    change = {"is_unfair": True, "problem": "idempotency-key-reused"}
    return spoiled(refused(), "http.end", change, subject="36.1")


@bug("cancel-granted", "order 38.7: its cancel was answered with 200, and nobody made that order")
def an_order_that_nobody_made_is_cancelled() -> History:
    entries = plain()
    fields = ("cancel", "", "", 7, 200, "", "id-38.7", "c", True)
    begun = ("http.begin", 1, "client", "38.7", "cancel", "", "", 7, 0, "", "", "", "")
    return after(entries, 0, begun, ("http.end", 2, "client", "38.7", *fields))


@bug("gateway-agrees", "order 37: it became PAID, and the ledger has no capture")
def an_order_is_paid_that_was_declined() -> History:
    return spoiled(plain(), "ledger", {"action": "decline"}, subject=SUBJECT, action="capture")


@bug("gateway-agrees", "order 37: it is DECLINED for expired; the gateway said card_declined")
def an_order_is_declined_for_another_reason() -> History:
    change = {"state": "DECLINED", "event_type": "PaymentDeclined", "reason": "expired"}
    entries = spoiled(plain(), "row", change, subject=SUBJECT, state="PAID")
    declined = {"action": "decline", "charge_key": "card_declined"}
    return spoiled(entries, "ledger", declined, subject=SUBJECT, action="capture")


@bug("gateway-agrees", "order 37: it became DECLINED, and the ledger has no decline")
def an_order_is_declined_that_nobody_declined() -> History:
    change = {"state": "DECLINED", "event_type": "PaymentDeclined"}
    return spoiled(plain(), "row", change, subject=SUBJECT, version=3)


@bug("gateway-agrees", "order 37: it became REFUNDED, and the ledger has no refund")
def a_refund_is_marked_and_never_made() -> History:
    return without(cancelled(), lambda e: e.get("action") == "refund" and e["kind"] == "ledger")


@bug(
    "gateway-agrees", "order 37: PaymentCaptured names a charge of which the ledger has no capture"
)
def an_event_names_another_charge() -> History:
    change = {"charge_key": "charge:id-37.1:2"}
    return spoiled(plain(), "appended", change, subject=SUBJECT, event_type="PaymentCaptured")


@bug("mails-owed", "order 37: OrderConfirmed was handled without a mail `confirmed`")
def a_mail_is_forgotten() -> History:
    return without(
        plain(), lambda e: e.get("charge_key") == "confirmed" and e["subject"] == SUBJECT
    )


@bug("mails-owed", "order 37: a mail `received` was sent in place of `confirmed`")
def a_mail_is_of_another_template() -> History:
    change = {"charge_key": "received"}
    return spoiled(plain(), "ledger", change, subject=SUBJECT, charge_key="confirmed")


@bug("mails-owed", "order 37: a mail `expired` was sent, and no committed change owes it")
def a_mail_tells_of_what_never_happened() -> History:
    entries = plain()
    index = where(entries, "ledger", subject=SUBJECT, charge_key="received")
    return after(entries, index, changed(entries[index], key="other", charge_key="expired"))


def _cancel(entries: History, index: int, status: int, **change: object) -> History:
    """Behind that entry the client asks to cancel, and is answered a millisecond later."""
    t_us = time_of(entries[index])
    begun = ("http.begin", t_us + 1, "client", SUBJECT, "cancel", "", "", 7, 0, "", "", "", "")
    fields = ("cancel", "", "", 7, status, "", "", "c", False)
    ended = changed(("http.end", t_us + 2, "client", SUBJECT, *fields), **change)
    return after(entries, index, begun, ended)


@bug("cancel-granted", "order 37: its cancel was answered with 409 at")
def a_cancel_of_an_open_order_is_refused() -> History:
    entries = plain()
    return _cancel(entries, where(entries, "row", subject=SUBJECT, state="VALIDATED"), 409)


@bug("cancel-granted", "order 37: its cancel was answered with 404, and it was accepted")
def an_accepted_order_is_not_found() -> History:
    entries = plain()
    return _cancel(
        entries, where(entries, "row", subject=SUBJECT, state="CONFIRMED"), 404, is_unfair=True
    )


@bug("cancel-granted", "order 37: its cancel was answered with 409, and it was cancelled")
def a_cancel_that_is_asked_again_is_refused() -> History:
    entries = cancelled()
    return _cancel(entries, where(entries, "row", subject=SUBJECT, state="REFUNDED"), 409)


@bug("idempotency-key", "order 37: 2 requests, the same body was answered with 201, then with 409")
def a_repeated_request_is_a_conflict() -> History:
    return spoiled(repeated_request(), "http.end", {"status": 409, "answer": ""}, send=100)


@bug("idempotency-key", "order 37: 2 requests, the same body got two different answers")
def a_repeated_request_gets_another_text() -> History:
    return spoiled(repeated_request(), "http.end", {"answer_digest": "other"}, send=100)


@bug("idempotency-key", "order 37: 2 requests, another body was answered with 409")
def another_body_is_a_conflict() -> History:
    entries = spoiled(repeated_request(), "http.begin", {"body_sha256": "b1"}, send=100)
    return spoiled(entries, "http.end", {"status": 409, "answer": ""}, send=100)


def _keyed(*requests: tuple[str, str, int, str]) -> History:
    """Cancels, a second apart: subject, key, status and problem, or digest if it is 200."""
    story = Story()
    story.order(SUBJECT)
    for send, (subject, key, status, said) in enumerate(requests, start=1):
        story.wait(S)
        asked = ("cancel", key, "", send)
        story.write("http.begin", "client", subject, *asked, 0, "", "", "", "")
        problem, told = ("", said) if status == 200 else (said, "")
        answer = f"id-{subject}" if status == 200 else ""
        story.write("http.end", "client", subject, *asked, status, problem, answer, told, False)
    return story.end()


REUSED: Final = "idempotency-key-reused"
RUNNING: Final = "idempotency-key-running"


@bug("idempotency-key", "order 37: its cancel was granted under the key of another wish that was g")
def a_cancel_is_granted_under_the_key_of_its_order() -> History:
    return _keyed((SUBJECT, f"key-{SUBJECT}", 200, "c"))


@bug("idempotency-key", "order 37: its cancel under the key of another wish was answered with 409")
def a_cancel_under_the_key_of_its_order_is_too_late() -> History:
    return _keyed((SUBJECT, f"key-{SUBJECT}", 409, "too-late"))


@bug("idempotency-key", "order 37: its cancel was granted under the key of another wish that was g")
def two_orders_are_cancelled_under_one_key() -> History:
    return _keyed(("1.1", "k", 200, "c"), (SUBJECT, "k", 200, "c"))


@bug("idempotency-key", "order 37: its cancel was refused by its key, which stands for nothing els")
def a_cancel_is_refused_by_a_key_that_is_new() -> History:
    return _keyed((SUBJECT, "k", 422, REUSED))


@bug("idempotency-key", "order 37: its cancel was put off, and no other request under its key was")
def a_cancel_is_put_off_for_nothing() -> History:
    return _keyed((SUBJECT, "k", 200, "c"), (SUBJECT, "k", 409, RUNNING))


@bug("idempotency-key", "order 37: its cancel got two different answers under one key")
def a_repeated_cancel_gets_another_text() -> History:
    return _keyed((SUBJECT, "k", 200, "c"), (SUBJECT, "k", 200, "d"))


@pytest.mark.parametrize(
    "requests",
    [
        [(SUBJECT, "k", 200, "c"), (SUBJECT, "k", 200, "c")],
        [(SUBJECT, f"key-{SUBJECT}", 422, REUSED)],
        # Nobody knows whether it was granted, or whether it still runs.
        [("1.1", "k", 0, ""), (SUBJECT, "k", 422, REUSED)],
        [(SUBJECT, "k", 0, ""), (SUBJECT, "k", 409, RUNNING)],
        [("1.1", "k", 503, "shed"), (SUBJECT, "k", 200, "c")],
        # Nothing is known of that order any more, and so of its key.
        [("1.1", "key-1.1", 422, REUSED)],
    ],
)
def test_a_cancel_may_be_repeated_under_its_key_and_refused_under_another_wishes(
    requests: list[tuple[str, str, int, str]],
) -> None:
    finding = judge(_keyed(*requests))["idempotency-key"]

    assert (finding.verdict, finding.checked) == ("PASS", len(requests))


# ---- what they must do


@pytest.mark.parametrize("planted", BUGS, ids=lambda each: f"{each.promise}: {each.name}")
def test_a_planted_bug_breaks_its_promise(planted: Bug) -> None:
    finding = judge(planted.plant())[planted.promise]
    assert finding.verdict == "FAIL"
    assert finding.violations >= 1
    assert planted.witness in finding.witness


@pytest.mark.parametrize("planted", BUGS, ids=lambda each: f"{each.promise}: {each.name}")
def test_a_witness_that_names_an_order_has_it_as_its_subject(planted: Bug) -> None:
    finding = judge(planted.plant())[planted.promise]
    if finding.witness.startswith("order 3"):
        assert finding.subject.startswith(finding.witness[6:8])


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_has_a_planted_bug(name: str) -> None:
    assert any(planted.promise == name for planted in BUGS)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_history_breaks_no_promise(name: str) -> None:
    broken = [each.witness for each in judge(HEALTHY[name]()).values() if each.verdict == "FAIL"]
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_holds_in_a_healthy_history_that_is_about_it(name: str) -> None:
    verdicts = {judge(story())[name].verdict for story in HEALTHY.values()}
    assert "PASS" in verdicts


@pytest.mark.parametrize(
    ("kind", "change", "witness"),
    [
        ("OrderValidated", {}, ""),
        ("OrderValidated", {"traceparent": OTHER}, "in validation is in another trace than the"),
        ("OrderValidated", {"cause_id": ""}, "names no cause"),
        ("OrderValidated", {"cause_id": "OrderConfirmed:37.1"}, "names OrderConfirmed as its"),
        ("OrderCreated", {}, ""),
        ("OrderCreated", {"cause_id": "id-1.1"}, "names a cause that is not its order"),
    ],
)
def test_a_copy_that_comes_when_its_order_was_judged_is_held_against_what_is_left_of_it(
    kind: str, change: dict[str, object], witness: str
) -> None:
    found = judge(_long_after(kind, change), batch=1)["trace-complete"]

    assert found.verdict == ("FAIL" if witness else "PASS")
    assert witness in found.witness


def test_a_record_that_is_no_order_of_the_lab_is_in_no_trace() -> None:
    entries = plain()
    index = where(entries, "appended", subject=SUBJECT)
    foreign = dict.fromkeys(("subject", "event_id", "traceparent", "cause_id"), "")
    found = judge(after(entries, index, changed(entries[index], **foreign)))["trace-complete"]

    assert found.verdict == "PASS"
    assert found.checked == judge(entries)["trace-complete"].checked


def test_a_run_that_had_failed_when_its_delivery_was_cancelled_was_no_attempt() -> None:
    assert judge(_cancelled_once(failures=7))["retry-law"].verdict == "PASS"


def test_a_process_that_stood_still_while_it_stopped_had_no_time_to_hand_its_work_on() -> None:
    entries = a_process_throws_its_work_away()
    place = where(entries, "life", event="term")
    told_us = time_of(entries[place])
    still = [
        ("life", told_us + at_us, "validation-1", "", event)
        for event, at_us in (("pause", 0), ("resume", 1))
    ]

    assert judge(after(entries, place, *still))["graceful-shutdown"].verdict == "PASS"
    assert (
        judge(after(entries, place - 1, *still[:1], changed(still[1], t_us=told_us)))[
            "graceful-shutdown"
        ].verdict
        == "FAIL"
    )


def test_a_handler_that_had_to_be_cancelled_excuses_nothing_that_is_done_again() -> None:
    cancelled = spoiled(stopped(), "drained", {"cancelled": 1})
    again = spoiled(a_process_leaves_without_its_commit(), "drained", {"cancelled": 1})
    assert judge(cancelled)["graceful-shutdown"].verdict == "PASS"
    assert judge(again)["graceful-shutdown"].verdict == "FAIL"


@pytest.mark.parametrize(
    ("who", "began_s", "lasts_s", "healed_s", "verdict"),
    [
        ("validation", -5, 10, None, "PASS"),
        # It was over before; it was another group; the run's faults had ended.
        ("validation", -5, 4, None, "FAIL"),
        ("payment", -5, 10, None, "FAIL"),
        ("validation", -5, 10, -1, "FAIL"),
    ],
)
def test_a_process_that_was_cut_off_when_it_stopped_could_hand_nothing_on(
    who: str, began_s: int, lasts_s: int, healed_s: int | None, verdict: str
) -> None:
    entries = a_process_throws_its_work_away()
    place = where(entries, "life", event="term")
    told_us = time_of(entries[place])
    cut = ("fault", told_us + began_s * S, "run", SUBJECT, "bus.partition", who, 1, lasts_s * S)
    healed = [] if healed_s is None else [("phase", told_us + healed_s * S, "run", "", "heal")]

    found = judge(after(entries, place - 1, cut, *healed))["graceful-shutdown"]

    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("anew_s", "taker", "verdict"),
    [
        # The store has forgotten that it was completed: it says so by handing it out anew.
        (1, "payment-2", "PASS"),
        (None, "payment-2", "FAIL"),
        (-1, "payment-2", "FAIL"),
        # A process knows that it took over what it had completed before.
        (None, "payment-1", "PASS"),
    ],
)
def test_an_event_that_was_forgotten_may_be_taken_over(
    anew_s: int | None, taker: str, verdict: str
) -> None:
    entries = plain()
    event = event_id(SUBJECT, "OrderValidated")
    claim = entries[where(entries, "claim", group="payment", event_id=event)]
    place = where(entries, "complete", group="payment", event_id=event)
    done_us = time_of(entries[place])
    taken = changed(claim, process=taker, state="takeover", fence=999, t_us=done_us + 2 * S)
    anew = changed(claim, process="payment-3", fence=998, t_us=done_us + (anew_s or 0) * S)
    told = after(entries, place, *([] if anew_s is None else [anew]), taken)

    assert judge(told)["fenced"].verdict == verdict
    # Whoever is heard of first.
    turned = [e for e in told if e is not anew]
    assert judge([*turned, anew] if anew in told else turned)["fenced"].verdict == verdict


def test_a_claim_may_be_granted_anew_if_the_first_may_be_over() -> None:
    lease_us = CONTRACT.lease_us
    event = event_id(SUBJECT, "OrderValidated")
    place = {"group": "payment", "event_id": event}
    early, again = claimed_twice("takeover", 2 * S), claimed_twice("acquired", 2 * S)
    second = where(again, "claim", **place, state="acquired", fence=999)
    t_us = time_of(again[second])
    killed = ("life", t_us - MS, "payment-1", "", "kill")

    def fault(kind: str) -> Entry:
        return ("fault", 0, "run", SUBJECT, kind, "payment", 1, 0)

    def verdict(entries: History) -> str:
        return judge(entries)["claim-returned"].verdict

    assert verdict(claimed_twice("takeover", lease_us)) == "PASS"
    assert verdict([fault("redis.early_expire"), *early]) == "PASS"
    assert verdict([fault("redis.evict"), *early]) == "FAIL", "then it would be acquired"
    assert verdict([fault("redis.evict"), *again]) == "PASS"
    assert verdict([*again[:second], killed, *again[second:]]) == "PASS", "its last call is unheard"
    assert verdict(spoiled(again, "complete", {"t_us": t_us + MS}, **place)) == "PASS"


@pytest.mark.parametrize("later_us", [0, 3_600 * S])
def test_what_a_store_has_at_the_end_may_be_what_it_told_of(later_us: int) -> None:
    found = judge(looked_at(*TRUTH, later_us=later_us))

    assert {name: each.witness for name, each in found.items() if each.verdict == "FAIL"} == {}


@pytest.mark.parametrize("results", [("Indeterminate",), ("cancelled",), ("Transient", "Down")])
def test_a_request_without_an_answer_may_be_in_doubt(results: tuple[str, ...]) -> None:
    assert judge(unanswered(*results))["no-phantom"].verdict == "PASS"


def test_what_is_done_may_have_been_done_by_a_commit_without_a_sure_answer() -> None:
    entries = a_commit_is_told_to_have_failed_and_is_stored()
    index = where(entries, "commit.end", subject=SUBJECT, group="payment")
    begun = where(entries, "commit.begin", subject=SUBJECT, group="payment")
    t_us = time_of(entries[index])
    other = changed(entries[begun], process="payment-2")

    def verdict(entries: History) -> str:
        return judge(entries)["no-phantom"].verdict

    for result in ("Indeterminate", "cancelled"):
        doubted = changed(entries[index], process="payment-2", result=result)
        assert verdict(after(entries, index, other, doubted)) == "PASS"
    assert verdict(after(entries, index, other)) == "PASS", "it waits for its answer"
    killed = ("life", t_us, "payment-2", "", "kill")
    assert verdict(after(entries, index, killed)) == "PASS", "what it wrote last may be lost"
    refused = changed(entries[index], process="payment-2", result="done")
    assert verdict(after(entries, index, other, refused)) == "FAIL", "done by whom?"


@pytest.mark.parametrize(("drained", "verdict"), [(0, "PASS"), (1, "FAIL")])
def test_a_process_that_had_lost_its_partitions_when_it_stopped_left_nothing(
    drained: int, verdict: str
) -> None:
    entries = spoiled(a_process_leaves_without_its_commit(), "drained", {"drained": drained})
    owned = entries[where(entries, "owned", process="validation-1")]
    place = where(entries, "life", event="term")
    lost = after(entries, place, changed(owned, kind="revoked", t_us=time_of(entries[place])))

    assert judge(lost)["graceful-shutdown"].verdict == verdict


def test_a_record_that_a_fault_has_replaced_may_differ_from_its_copies() -> None:
    entries = after(an_event_that_is_published_again_has_other_bytes(), 0, POISONED)
    assert judge(entries)["log-sound"].verdict == "PASS"


def test_a_position_that_is_set_back_in_an_outage_of_the_broker_is_not_judged() -> None:
    down = ("fault", 1, "run", "", "bus.down", "", 1, 0)
    assert judge(after(a_position_goes_back(), 0, down))["commit-forward"].verdict == "PASS"


def test_a_handler_of_an_epoch_before_may_still_run() -> None:
    entries = two_events_of_an_order_are_handled_at_once()
    of = {"subject": SUBJECT, "event_type": "OrderConfirmed", "group": "notification"}
    again = spoiled(entries, "handle.begin", {"epoch": 2}, **of)
    assert judge(again)["per-key-order"].verdict == "PASS"


def test_a_record_is_forgotten_once_all_its_groups_have_passed_it() -> None:
    entries = plain()
    checker = Checker(CONTRACT)
    checker.take(entries)
    checker.findings()
    records = checker._tracks.topics["orders", 0]
    assert (records.end, records.low, records.digests) == (6, 6, {})


def test_a_process_that_told_its_position_in_vain_could_not_help_what_is_done_again() -> None:
    entries = without(stopped(), lambda e: e["kind"] == "committed" and e["group"] == "validation")
    deliver = entries[where(entries, "deliver", group="validation")]
    index = where(entries, "owned", process="validation-1#2")
    again = after(entries, index, changed(deliver, process="validation-1#2", epoch=2))
    assert judge(again)["graceful-shutdown"].verdict == "PASS"


def test_what_was_lost_at_a_rebalance_before_the_stop_is_not_blamed_on_it() -> None:
    entries = a_process_leaves_without_its_commit()
    owned = entries[where(entries, "owned", process="validation-1")]
    term = where(entries, "life", event="term")
    again = after(entries, term - 1, changed(owned, epoch=2))
    again = spoiled(again, "deliver", {"epoch": 3}, process="validation-1#2")
    assert judge(again)["graceful-shutdown"].verdict == "PASS"


def test_what_was_charged_is_open_money_while_the_order_is_not_at_its_end() -> None:
    story = Story()
    story.ask(SUBJECT)
    story.validate(SUBJECT)
    story.receive(SUBJECT)
    story.intent(SUBJECT, "open", "charge", "VALIDATED")
    story.money(SUBJECT, "capture", charge_key(SUBJECT))
    finding = judge(story.end())["money-matches"]
    assert finding.verdict == "PASS"
    assert finding.note == "open money: 1 order, 1020 minor units of EUR"


@pytest.mark.parametrize(
    "history",
    [
        _cancel(plain(), where(plain(), "row", subject=SUBJECT, state="PAID"), 409),
        _cancel(plain(), where(plain(), "row", subject=SUBJECT, state="VALIDATED"), 503),
        _cancel(plain(), where(plain(), "row", subject=SUBJECT, state="VALIDATED"), 0),
        # It was captured while the request was on its way: it may have come first, or too late.
        _cancel(
            plain(), where(plain(), "row", subject=SUBJECT, state="VALIDATED"), 409, t_us=60 * S
        ),
    ],
    ids=["too late", "shed", "lost", "overtaken"],
)
def test_a_cancel_that_may_have_come_too_late_is_not_held_against_anybody(history: History) -> None:
    assert judge(history)["cancel-granted"].verdict != "FAIL"


def test_a_conflict_is_right_while_a_request_without_an_answer_may_still_run() -> None:
    story = Story()
    story.ask("37.1", key="k")
    for send, status in ((2, 0), (3, 409)):
        subject = f"37.{send}"
        story.write("http.begin", "client", subject, "create", "k", "b0", send, *ASKED)
        answer = ("create", "k", "b0", send, status, "", "", "", False)
        story.write("http.end", "client", subject, *answer)

    assert judge(story.end())["idempotency-key"].verdict == "PASS"


def test_an_event_that_a_fault_has_spoiled_tells_nothing() -> None:
    entries = an_event_is_no_json()
    fault = ("fault", 1, "run", SUBJECT, "bus.poison", "OrderValidated", 1, 0)

    assert judge(after(entries, 0, fault))["as-ordered"].verdict == "PASS"


def test_an_order_that_its_client_cannot_read_is_judged_by_its_row() -> None:
    unread = {"amount_cents": -1, "currency": "", "buyer": "", "items": ""}
    entries = plain()
    for subject in ("1.1", "2.1", "37.1"):
        entries = spoiled(entries, "http.begin", unread, subject=subject)

    assert judge(entries)["as-ordered"].verdict == "UNKNOWN"
    assert judge(entries)["money-matches"].verdict == "PASS"
