"""Bugs about the times that events tell: taken from the wrong row, the wrong clock, or left out."""

from typing import Any, Final

from msgspec.structs import replace

from lab.domain.envelope import Envelope
from lab.domain.lineage import derive
from lab.patterns.outbox import to_record
from lab.ports.bus import Outgoing
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()


@BUGS.plant(
    "times-told",
    "lab.services.orders.derive",
    setup=Setup(),
    witness="OrderConfirmed in orders says that it was decided",
)
def time_in_milliseconds(*args: Any, **given: Any) -> Envelope:
    """One emitter takes the clock of another library, which counts milliseconds."""
    is_confirmed = given["by"] == "orders"
    return derive(*args, **{**given, "time_us": given["time_us"] // (1_000 if is_confirmed else 1)})


@BUGS.plant(
    "times-told",
    "lab.patterns.outbox.to_record",
    setup=Setup(),
    witness="before its cause was known",
)
def seconds_are_enough(envelope: Envelope) -> Outgoing:
    """Whoever made the format of the header saw no use for parts of a second."""
    return to_record(replace(envelope, time_us=envelope.time_us // 1_000_000 * 1_000_000))


@BUGS.plant(
    "times-told",
    "lab.services.validation.derive",
    setup=Setup(),
    witness="OrderValidated in validation does not say when its order expires",
)
def expiry_that_is_optional(*args: Any, **given: Any) -> Envelope:
    """The argument has a default, and nobody missed it."""
    return derive(*args, **{**given, "expires_us": None})


@BUGS.plant(
    "times-told",
    "lab.services.validation.derive",
    setup=Setup(),
    witness="OrderValidated in validation says that its order expires at",
)
def a_day_from_now(*args: Any, **given: Any) -> Envelope:
    """The expiry is counted anew by whoever tells of it."""
    return derive(*args, **{**given, "expires_us": given["time_us"] + 90_000_000_000})
