"""The turns of main topics and retry topics, where a member is about to be handed records.

A retry that waits behind the whole backlog of its main topic comes minutes late, and a new order
behind the retries of an outage as well. So they take turns, whatever the log.

Not here: the order in which workers take what was handed out (`lab.bus.loop.lanes`).
"""


class Turns:
    """Whose records come first, for one member."""

    def __init__(self) -> None:
        self._was_retries = False

    def retries_first(self) -> bool:
        """Whether retry topics, which have records, come first: every other time."""
        self._was_retries = not self._was_retries
        return self._was_retries
