"""What a case notes of its deliveries and calls: small parts, each of one or two entries.

Not here: the case that keeps them (`order_case`), and the folds that make them.
"""

from typing import NamedTuple

from lab.history.calls import HandleBeginEntry


class AckSeen(NamedTuple):
    """An acknowledgement that the process's own earlier entries do not account for."""

    group: str
    event_id: str
    why: str
    topic: str
    t_us: int


class Turn(NamedTuple):
    """A record of a retry topic was handed over, for the first time under an epoch.

    Attributes:
        outrun_us: since then many records of main topics came to their end before it; see
            `ProcessLife.outrun_since`.
    """

    process: str
    group: str
    topic: str
    partition: int
    offset: int
    t_us: int
    outrun_us: int


class Disorder(NamedTuple):
    """Two handler runs of one key and topic in one process, in the wrong order."""

    process: str
    group: str
    topic: str
    before: int
    sequence: int


class Again(NamedTuple):
    """A delivery that was settled with a retry: its attempt, when, after how long, which epoch."""

    group: str
    event_id: str
    attempt: int
    t_us: int
    after_us: int
    epoch: int


class MoneySent(NamedTuple):
    """A charge or a refund that a process asked for, or asked about, at `t_us`, with any result.

    `run`: the handler that asked for it, as it began; None if none did.
    """

    t_us: int
    process: str
    action: str
    key: str
    run: HandleBeginEntry | None


class Died(NamedTuple):
    """A commit in whose middle a process was killed, and between which instants it was made."""

    group: str
    begun_us: int
    end_us: int
