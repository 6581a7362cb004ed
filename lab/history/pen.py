"""The pen of one process life: the name in its entries, their clock, and their taker.

Not here: the entries (`entries`), and the places that they go to (`recorder`, `journal`).
"""

from dataclasses import dataclass

from lab.history.recorder import Now, Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Everything that a part needs to write about itself.

    A part that writes often takes the three out when it is made: an entry costs no further frame.

    Attributes:
        process: name of the process life, such as `payment-1#2`.
        now: the history's clock, in microseconds.
        write: takes an entry; None: nobody looks.
    """

    process: str
    now: Now
    write: Write | None = None

    @property
    def writing(self) -> Write:
        """`write`, for a part that is made only where somebody looks."""
        assert self.write is not None, "a recording part is made where somebody looks"
        return self.write
