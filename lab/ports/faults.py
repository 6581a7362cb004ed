"""The words between an injector of faults and the part that it acts on: neither knows the other."""

from enum import StrEnum
from typing import Protocol

import msgspec


class CallFaultKind(StrEnum):
    """A way in which one call to a provider goes wrong."""

    ACTS_LATE = "acts_late"
    ERROR = "error"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    HANG_AFTER_EFFECT = "hang_after_effect"
    LATE_REPLY = "late_reply"
    SLOW = "slow"
    MALFORMED = "malformed"


class CallFault(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call that goes wrong.

    ERROR: the answer is the HTTP `status`; `is_stored`: as the first answer of the call's
    idempotency key. Nothing is done, unless `is_done`. REFUSED: nothing is done, and the answer is
    a no for good. ACTS_LATE: it is done `by_us` after the caller's deadline, and under way until
    then; `is_cut`: the caller hears at once that the connection broke, else nothing; unless
    `is_seen` nobody can tell that it is under way, because it has not got there yet. TIMEOUT:
    nothing is done, no answer. HANG_AFTER_EFFECT: it is done, no answer. LATE_REPLY: it is done,
    and the answer comes `by_us` after the caller's deadline. SLOW: it takes `times` its latency and
    `by_us` more, and may be in time all the same. MALFORMED: it is done, and nobody can read the
    answer.
    `after_us` is the hint of a 409 or 429, and of a 503 if it was asked for.
    """

    kind: CallFaultKind
    status: int = 0
    is_stored: bool = False
    is_done: bool = False
    is_cut: bool = False
    is_seen: bool = True
    after_us: int = 0
    by_us: int = 0
    times: int = 1


class CallFaults(Protocol):
    """Decides about each call to a provider, when it is handed over."""

    def strike(self, provider: str, action: str, subject: str) -> CallFault | None:
        """The fault of this call, or None. Counts the call; a firing is recorded."""
        ...
