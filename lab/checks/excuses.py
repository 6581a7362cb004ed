"""The table of excuses: which fault may be the reason that an event is given up, and how.

An event may end as a dead letter, and its order in PAYMENT_UNKNOWN or REFUND_FAILED, only for a
reason that lies outside of the system. Each kind of fault stands here with its reach: how many
runs of a handler one firing can spoil. A kind that is missing here excuses everything: nobody has
thought about it yet.

Not here: the firings of a run (`causes`), and the promise that compares (`promises/excuses.py`).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Reach(Enum):
    """How far one firing goes."""

    NOTHING = "no handler fails for it"
    ONE_RUN = "it fails one run of a handler, of the order that it struck"
    AN_ANSWER = "a third party fails one request; its own witness of that counts"
    THE_RECORD = "it spoils the record itself, for every group that reads it"
    MEANWHILE = "every run that goes on at that time may fail, of any order"
    OUTAGE = "every run may fail until it is over, of any order"
    EVER_AFTER = "every run from then on may fail"


EXCUSES: Final[Mapping[str, Reach]] = {
    # A record comes once more, later, or in another order: no handler fails for that.
    "bus.duplicate": Reach.NOTHING,
    "bus.drop_ack": Reach.NOTHING,
    "bus.delay": Reach.NOTHING,
    "bus.reorder": Reach.NOTHING,
    "bus.poison": Reach.THE_RECORD,
    # Without an outbox a handler publishes itself.
    "bus.drop_publish": Reach.ONE_RUN,
    "bus.publish_unknown": Reach.ONE_RUN,
    # A member that has lost its partition may be in the middle of anything.
    "bus.rebalance": Reach.MEANWHILE,
    "bus.partition": Reach.MEANWHILE,
    "bus.down": Reach.OUTAGE,
    # One broker that is missing delays; a second one leaves too few copies for any append.
    "bus.leader_move": Reach.OUTAGE,
    "svc.error": Reach.AN_ANSWER,
    "svc.timeout": Reach.AN_ANSWER,
    "svc.hang_after_effect": Reach.AN_ANSWER,
    "svc.late_reply": Reach.AN_ANSWER,
    "svc.slow": Reach.AN_ANSWER,
    "svc.flapping": Reach.AN_ANSWER,
    "svc.rate_limit": Reach.AN_ANSWER,
    "svc.malformed": Reach.AN_ANSWER,
    "svc.acts_late": Reach.AN_ANSWER,
    "svc.refuse_refund": Reach.AN_ANSWER,
    # A process has many orders in hand, and whoever runs beside it waits for its locks and leases.
    "proc.crash": Reach.MEANWHILE,
    "proc.term": Reach.MEANWHILE,
    "proc.pause": Reach.MEANWHILE,
    "proc.cancel": Reach.MEANWHILE,
    "proc.crash_loop": Reach.EVER_AFTER,
    "redis.down": Reach.OUTAGE,
    "redis.slow": Reach.MEANWHILE,
    "redis.evict": Reach.MEANWHILE,
    "redis.early_expire": Reach.MEANWHILE,
    # One statement of one order; if nobody knows of which order, of any (`causes`).
    "pg.deadlock": Reach.ONE_RUN,
    "pg.serialization": Reach.ONE_RUN,
    "pg.conn_loss_before_commit": Reach.ONE_RUN,
    "pg.conn_loss_after_commit": Reach.ONE_RUN,
    "pg.pool_exhausted": Reach.ONE_RUN,
    "pg.slow": Reach.MEANWHILE,
    "pg.shutdown": Reach.OUTAGE,
    # A deadline that is an instant of the day comes too early or too late.
    "clock.skew": Reach.EVER_AFTER,
    "clock.jump": Reach.EVER_AFTER,
    # The client asks for something else, or twice: that fails no handler of an event.
    "client.retry_same_key": Reach.NOTHING,
    "client.same_key_new_body": Reach.NOTHING,
    "client.unsound_order": Reach.NOTHING,
    "client.large_order": Reach.NOTHING,
    "client.double_submit": Reach.NOTHING,
    "client.cancel": Reach.NOTHING,
    "client.look": Reach.NOTHING,
    "client.abandon": Reach.NOTHING,
}
"""The reach of each kind of fault."""

CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "validation": ("warehouse", "antifraud"),
    "payment": ("payment_gateway",),
    "orders": (),
    "notification": ("mailer",),
}
"""The third parties that each group calls."""

REFUSALS_FOR_GOOD: Final = ("400", "404", "410", "413", "415", "422")
"""Answers after which trying again is in vain. 401, 403, 409 and 429 ask to come back later."""

REFUSING: Final = ("svc.error",)
"""Faults that make a third party give such an answer to a request that was right."""

THROTTLING: Final = ("svc.error", "svc.rate_limit", "svc.flapping")
"""Faults that make it ask to come back later, although nothing of the kind is under way."""

PUT_ASIDE: Final = ("PAYMENT_UNKNOWN", "REFUND_FAILED")
"""An order is in such a state for a person, once the event that would move it was given up."""
