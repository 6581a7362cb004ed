"""The legal moves, events and readers of an order, written down a second time for the checks.

On purpose they are not imported from the code that they judge (`lab.domain.order`,
`lab.domain.events`): a rule that is changed in one place only is noticed, because
`tests/unit/checks/test_checker.py` compares the two. Not here: policies, which a user may set
(`contract`).
"""

from collections.abc import Mapping
from typing import Final

NEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("PENDING",),
    "PENDING": ("VALIDATED", "REJECTED", "CANCELLED", "EXPIRED"),
    "VALIDATED": ("PAID", "DECLINED", "PAYMENT_UNKNOWN", "CANCELLED", "EXPIRED"),
    "PAYMENT_UNKNOWN": ("PAID", "DECLINED"),
    "PAID": ("CONFIRMED",),
    "CANCELLED": ("REFUND_PENDING",),
    "EXPIRED": ("REFUND_PENDING",),
    "REFUND_PENDING": ("REFUNDED", "REFUND_FAILED"),
    "REFUND_FAILED": ("REFUNDED",),
    "REJECTED": (),
    "DECLINED": (),
    "CONFIRMED": (),
    "REFUNDED": (),
}
"""From each state ("" before the first) those it may move to."""

TERMINAL: Final = frozenset(
    {"CONFIRMED", "REJECTED", "DECLINED", "CANCELLED", "EXPIRED", "REFUNDED"}
)
MOVES_MONEY: Final = frozenset({"charge", "refund"})
ABOUT_MONEY: Final = MOVES_MONEY | {"query"}
"""What the payment gateway is called for."""
MAY_EXPIRE: Final = ("PENDING", "VALIDATED")
CHARGE_IN: Final = ("VALIDATED", "PAYMENT_UNKNOWN")
REFUND_IN: Final = ("REFUND_PENDING", "REFUND_FAILED")

EVENT_OF: Final[Mapping[str, str]] = {
    "PENDING": "OrderCreated",
    "VALIDATED": "OrderValidated",
    "REJECTED": "OrderRejected",
    "PAID": "PaymentCaptured",
    "DECLINED": "PaymentDeclined",
    "PAYMENT_UNKNOWN": "PaymentUnknown",
    "CONFIRMED": "OrderConfirmed",
    "CANCELLED": "OrderCancelled",
    "EXPIRED": "OrderExpired",
    "REFUND_PENDING": "RefundRequested",
    "REFUNDED": "PaymentRefunded",
    "REFUND_FAILED": "RefundFailed",
}
"""The one event owed for the move into each state."""

TOPIC_OF: Final[Mapping[str, str]] = {
    "OrderCreated": "orders",
    "OrderConfirmed": "orders",
    "OrderCancelled": "orders",
    "OrderExpired": "orders",
    "OrderValidated": "validation",
    "OrderRejected": "validation",
    "PaymentCaptured": "payments",
    "PaymentDeclined": "payments",
    "PaymentUnknown": "payments",
    "RefundRequested": "payments",
    "PaymentRefunded": "payments",
    "RefundFailed": "payments",
}

READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "OrderCreated": ("validation", "notification"),
    "OrderValidated": ("payment",),
    "OrderRejected": ("notification",),
    "PaymentCaptured": ("orders",),
    "PaymentDeclined": ("notification",),
    "PaymentUnknown": (),
    "OrderConfirmed": ("notification",),
    "OrderCancelled": ("notification",),
    "OrderExpired": ("notification",),
    "RefundRequested": ("payment",),
    "PaymentRefunded": ("notification",),
    "RefundFailed": (),
}
"""The groups to which each event is owed."""

CAUSED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "OrderCreated": ("",),
    "OrderCancelled": ("",),
    "OrderExpired": ("",),
    "OrderValidated": ("OrderCreated",),
    "OrderRejected": ("OrderCreated",),
    "PaymentCaptured": ("OrderValidated",),
    "PaymentDeclined": ("OrderValidated",),
    "PaymentUnknown": ("",),
    "RefundRequested": ("OrderValidated",),
    "PaymentRefunded": ("RefundRequested",),
    "RefundFailed": ("",),
    "OrderConfirmed": ("PaymentCaptured",),
}
"""The events that may lead to each; "" for the order: a request, the clock, a dead letter."""

TELLS_AMOUNT: Final = frozenset(
    {"OrderCreated", "OrderValidated", "PaymentCaptured", "OrderConfirmed", "RefundRequested"}
)
"""Events that tell the order's amount and currency."""

TELLS_BUYER: Final = "OrderCreated"
"""The event that tells whose order it is, and its items."""

TELLS_CHARGE: Final = frozenset(
    {"PaymentCaptured", "RefundRequested", "PaymentRefunded", "RefundFailed", "PaymentUnknown"}
)
"""Events that name a charge: one that was captured, the last one that nobody knows the end of."""

AMOUNT_MAX: Final = 10**12
"""The largest amount of an order, in minor units."""

KEY_REUSED: Final = "idempotency-key-reused"
"""Problem type of the refusal of another body under a key."""

KEY_RUNNING: Final = "idempotency-key-running"
"""Problem type of the refusal of a request while another one under its key is under way."""

OPEN: Final = ("PENDING", "VALIDATED")
"""States in which a customer may cancel."""

TEMPLATE_OF: Final[Mapping[str, str]] = {
    "OrderCreated": "received",
    "OrderConfirmed": "confirmed",
    "OrderCancelled": "cancelled",
    "OrderExpired": "expired",
    "OrderRejected": "rejected",
    "PaymentDeclined": "declined",
    "PaymentRefunded": "refunded",
}
"""The mail that a customer is owed for each event."""

MAILER: Final = "notification"
REVENUE_EVENT: Final = "OrderConfirmed"

MOVED_BY: Final[Mapping[str, tuple[str, str]]] = {
    "PENDING": ("validation", "OrderCreated"),
    "VALIDATED": ("payment", "OrderValidated"),
    "PAYMENT_UNKNOWN": ("payment", "OrderValidated"),
    "PAID": ("orders", "PaymentCaptured"),
    "REFUND_PENDING": ("payment", "RefundRequested"),
    "REFUND_FAILED": ("payment", "RefundRequested"),
}
"""The group that an order waits for in a state that is not terminal, and the event it has there."""

WRITER: Final[Mapping[str, str]] = {
    "PENDING": "api",
    "CANCELLED": "api",
    "VALIDATED": "validation",
    "REJECTED": "validation",
    "PAID": "payment",
    "DECLINED": "payment",
    "PAYMENT_UNKNOWN": "payment",
    "REFUND_PENDING": "payment",
    "REFUNDED": "payment",
    "REFUND_FAILED": "payment",
    "CONFIRMED": "orders",
    "EXPIRED": "orders",
}
"""The process that moves an order into each state, without the number of its copy."""

GIVEN_UP_LAWFULLY: Final = ("poison", "permanent", "starts")
"""Reasons of a dead letter that park an order whatever the number of attempts."""

REPEATED: Final = "repeated"
"""Reason of a letter that was published again, for an event that was dead already."""

CAUSES: Final[Mapping[str, frozenset[str]]] = {
    "permanent": frozenset({"Permanent", "TooLarge"}),
    "poison": frozenset({"Poison"}),
}
"""Reasons of a dead letter that lie in its event, and the results of a run that show it."""

OTHER_REASONS: Final = ("exhausted", "starts", "expired", REPEATED)

NO_ATTEMPT: Final = frozenset(
    {"ok", "Throttled", "Down", "Fenced", "cancelled", "crash", "AlreadyDone", "AlreadyDead"}
)
"""Results of a handler's run that count as no attempt, or as a good one."""

UNCLASSIFIED_MAX: Final = 3
"""Attempts at most of an event whose handler fails in a way that no class of errors fits."""
REDRIVES_MAX: Final = 3
"""How often a dead event may be sent back."""

UNCLASSIFIED: Final = "Unclassified"
"""Result of a handler's run that raised what has no class of its own."""

NEVER_RETRIED: Final = frozenset({"Permanent", "TooLarge", "Poison"})
THIRD_PARTIES: Final = frozenset({"warehouse", "antifraud", "payment_gateway", "mailer"})
"""Those that are called through a breaker; customers are read from our own store."""

CUSTOMERS: Final = "customers"
"""The record of a customer, as a call names it."""

OBJECTIONS: Final[Mapping[str, str]] = {"warehouse": "out_of_stock", "antifraud": "fraud"}
"""The reason for which each third party says no to an order."""

REASON_OF_RECORD: Final = "customer_blocked"
"""The reason that stands in a customer's record."""

CALL_FAILED: Final = frozenset({"Transient", "Indeterminate", "Down"})

STORE_DOWN_US: Final = 1_000_000
"""Nobody waits longer than this for a store that is down before it is asked again."""

THROTTLED: Final = "throttled"
"""Where an event waits that was told to: by a third party, or by the claim of another run."""

REPLAYED: Final = "Replayed"
"""A failure that a third party had stored under a key: an answer, and yet no success."""

SHED: Final = "shed"
"""Problem type of the 503 that promises that nothing was stored."""

LIMITER: Final = "dead_letters"
"""The reason of a pause when too many events die."""

OUTAGES: Final = ("bus.down", "bus.leader_move", "pg.shutdown")
"""Faults that leave a process no way to bring its work to an end, or to hand it on."""

CUTS_SHORT: Final = ("pg.", "proc.cancel", "proc.term")
"""The beginnings of faults after which nobody may learn how a started handler ended."""

MOVES_PARTITIONS: Final = ("bus.rebalance", "bus.partition")
"""Faults after which a group gives its partitions out anew."""

UNSAID: Final = ("pg.", "proc.cancel")
"""The beginnings of faults after which the order store may not have heard how a handler ended."""

DEDUPE_OUTAGE: Final = "redis.down"
"""A fault that leaves a process no way to give a claim back."""

CLAIM_GONE: Final = ("redis.evict", "redis.early_expire", "proc.cancel", "proc.term")
"""Faults after which a claim may be gone: forgotten, or ended by a call that was cut."""

LEASE_CUT: Final = "redis.early_expire"
"""A fault after which a lease is over before its time."""

CANCEL: Final = "proc.cancel"
"""A fault that has one delivery given back, in the middle of its work."""

LOOK: Final = "client.look"
"""A fault that is none: a client looks at its order."""

CUT_OFF: Final = "bus.partition"
"""A fault that does so to the members of one group."""

POISON: Final = "bus.poison"
"""A fault that replaces the value of an event's records in the log; its site is the type."""

REFUSALS: Final = (
    "pg.deadlock",
    "pg.serialization",
    "pg.conn_loss_before_commit",
    "pg.conn_loss_after_commit",
    "pg.pool_exhausted",
)
"""Faults by which the order store refuses one call, or its answer to it is lost."""

DRAINED: Final = ("outbox", "lag", "waiting")
"""Owed work in `LeftEntry.what`; everything else there must have been given back."""


def readers_of(topic: str) -> int:
    """How many groups read a topic: those of its events; a retry topic has one, a DLQ none."""
    if "." in topic:
        return not topic.endswith(".dlq")
    kinds = [kind for kind, of in TOPIC_OF.items() if of == topic]
    return len({group for kind in kinds for group in READERS[kind]})


def main_topic(topic: str) -> str:
    """The main topic that a retry topic or dead-letter queue belongs to."""
    return topic.split(".", 1)[0]


def is_refusal(status: int, problem: str) -> bool:
    """Whether an HTTP answer promises that nothing was stored."""
    return (400 <= status < 500 and status != 409) or (status == 503 and problem == SHED)
