"""How a part of a process says that it is of no use for now.

Not here: putting the answers together (`lab.wiring.process.readiness`).
"""

from typing import Protocol


class Usable(Protocol):
    """A part that may be of no use for a while: a member of a group, or the process itself."""

    def why_not(self) -> str:
        """Why it is of no use now, in a few words for an operator; "" while it is.

        It asks nobody and costs nothing. Being busy is no reason, and neither is having nothing to
        do: a member without partitions stands by.
        """
        ...
