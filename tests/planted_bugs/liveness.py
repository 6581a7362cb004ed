"""Bugs about the end: orders that never come to theirs, work that is never put away."""

from dataclasses import replace
from typing import Any, Final

from lab.bus.delivery import Limits
from lab.domain.errors import LabError
from lab.patterns.retry import Retrying
from lab.ports.bus import Delivery, Release, Settlement
from lab.ports.key_retry import WaitingRow
from lab.stores.memory_key_retry import KeyRetryTable
from lab.wiring.chain import _limits
from tests.planted_bugs.planting import Bugs, Setup

BUGS: Final = Bugs()

ERRORS: Final = Setup(scenario="timeouts")
THROUGH_TIERS: Final = Setup(scenario="timeouts", settings=(("retry.in_place", 1),))


@BUGS.plant("converges", setup=ERRORS, off=("retry",), witness="at the end")
def no_retry() -> None:
    """The first failure is the last: a dead letter for what would have passed."""


@BUGS.plant(
    "drains", "lab.wiring.chain._limits", setup=Setup(), witness="lag"
)
def commit_every_200_only(policy: Any) -> Limits:
    """Positions are committed after so many records; the last ones wait for more to come."""
    return replace(_limits(policy), commit_after_us=2**50)


@BUGS.plant(
    "drains", "lab.stores.memory.KeyRetryTable", setup=THROUGH_TIERS, witness="waiting"
)
class RowsAreNotDeleted(KeyRetryTable):
    """The rows of a key that has come to its end are kept for the auditors."""

    def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:  # noqa: ARG002
        return None


_ = LabError, Retrying, Delivery, Release, Settlement
