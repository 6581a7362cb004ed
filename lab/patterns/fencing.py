"""A process that was paused for a minute wakes up and goes on as if nothing had happened.

Meanwhile its partitions went to another member, whose position its settlements would now overwrite.

So every delivery carries the epoch of the assignment it came under, and a settlement counts only
while that assignment is the present one. Stores fence in the same way, by version or fence number.

The weak part does not compare.
"""


def accept_present(epoch: int, present: int) -> bool:
    """Whether a settlement under `epoch` counts while `present` is the member's assignment.

    `present` is 0 while nothing is assigned.
    """
    return epoch == present


def accept_any(epoch: int, present: int) -> bool:  # noqa: ARG001 - the weak part of the same shape
    """The weak part: every settlement counts, however old its assignment is."""
    return True
