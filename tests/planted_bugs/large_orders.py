"""Bugs about large orders: a limit that is missing, and one that nobody had in mind."""

from typing import Final

import msgspec
from msgspec.structs import replace

from lab.domain.envelope import Envelope
from lab.domain.order import NewOrder
from lab.domain.request import ITEMS_MAX, Refusal, parse_order
from lab.patterns.outbox import to_record
from lab.ports.bus import Outgoing
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

MOST: Final = Setup(faults=("client.large_order#every10 first=1 size=most",))
MORE: Final = Setup(faults=("client.large_order#every5 first=1 size=more",))


@BUGS.plant(
    "refused-for-a-reason",
    "lab.api.parse_order",
    setup=MORE,
    witness="it breaks a rule, and was accepted with 201",
    falls={
        "as-ordered": "the rest of the items is neither stored nor told of",
        "money-matches": "and is not charged",
        "decided-as-told": "and nobody was asked about it",
    },
)
def as_many_as_fit(body: bytes) -> NewOrder | list[Refusal]:
    """A list that is too long is cut, as if it were a page."""
    given = msgspec.json.decode(body)
    if isinstance(given.get("items"), list):
        given["items"] = given["items"][:ITEMS_MAX]
    return parse_order(msgspec.json.encode(given))


@BUGS.plant(
    "outbox-atomic",
    "lab.patterns.outbox.to_record",
    setup=MOST,
    witness="is owed and was never published",
    falls={
        "no-lost-event": "the relay never comes past what the broker refuses",
        "converges": "so its order stays where it is",
        "drains": "and so do those behind it",
    },
)
def padded_to_hide_its_length(envelope: Envelope) -> Outgoing:
    """A value is filled up with blanks, and the limits were tried with small orders."""
    data = envelope.data
    return to_record(replace(envelope, data=data + b" " * 4 * len(data)))
