"""Every crash point: its name in a fault, and its place.

Not here: the death of a process there (`lab.faults.processes`).
"""

from collections.abc import Mapping
from typing import Final

ANY: Final = "any"
MID_DRAIN: Final = "shutdown.mid_drain"

CRASH_POINTS: Final[Mapping[str, str]] = {
    "api.before_commit": "the API is about to commit a request's unit",
    "api.after_commit": "the unit is committed; no answer, and no direct publish yet",
    "relay.after_claim": "the relay has read the rows of a batch, nothing is published",
    "relay.after_publish": "the batch is published, its rows are not marked",
    "consumer.after_fetch": "records were fetched, none is handled",
    "dedupe.after_claim": "the event is claimed, nothing is done",
    "handler.before_effect": "a charge, refund or mail is about to be asked for",
    "handler.after_effect": "the charge, refund or mail was answered, nothing is committed",
    "handler.before_commit": "the unit that settles the event is about to be committed",
    "handler.after_commit": "it is committed; not acknowledged, and no direct publish yet",
    "handler.after_ack": "the delivery is acknowledged, its offset is not committed",
    "retry.after_publish": "the record is in a retry topic, its delivery is not settled",
    "dlq.before_publish": "the dead letter is about to be published",
    "dlq.after_publish": "the dead letter is published, its delivery is not settled",
    MID_DRAIN: "the process drains; it has neither committed its offsets nor left its group",
    ANY: "before or after a random port call of a delivery, request or relay batch",
}
