"""The bounds of one subscription: how much it takes on, how soon it commits, how long it lets go.

Without them a slow handler fills memory, and a member that will not let go is thrown out of its
group. Not here: who keeps to them (`delivery.py` and its parts).
"""

from dataclasses import dataclass

from lab.ports.bus import Ordering


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a subscription does at once, and how long it may take to let go.

    Attributes:
        ordering: which deliveries may not run at the same time.
        workers: handlers that run at once.
        max_in_flight: records fetched and not settled.
        max_uncommitted: records of one partition from its first unsettled one on.
        commit_every: settlements after which is committed.
        commit_after_us: time from the first uncommitted settlement to its commit.
        revoke_us: how long running handlers may finish before partitions are given away; must lie
            below the group's rebalance timeout.
        rest_us: how long a stop may take beyond its grace: a quarter to move, a quarter to cancel,
            the rest to commit.
    """

    ordering: Ordering = Ordering.KEY
    workers: int = 16
    max_in_flight: int = 256
    max_uncommitted: int = 2_000
    commit_every: int = 200
    commit_after_us: int = 500_000
    revoke_us: int = 8_000_000
    rest_us: int = 4_000_000
