"""Single orders of a run, kept or going on: their entries, spans and steps.

Not here: reading the run (`seen_run`), and telling the story (`stories`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from lab.faults.table.spec import ordinal_of
from lab.history.entries import Entry, subject_of
from lab.observe.model import LogLine, Span
from lab.story.steps import StoryStep, steps_of
from lab.wiring.seen_run import SeenRun


@dataclass(slots=True, kw_only=True)
class SeenOrder:
    """What a kept run knows of one order.

    Attributes:
        epoch_us: microseconds since 1970 at which the history's clock showed 0.
        entries: about it, in their order.
        lines: of the run, too.
    """

    epoch_us: int
    spans: list[Span] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def steps(self, turn: Entry | None = None) -> tuple[StoryStep, ...]:
        """Its way; `turn` is an entry that gets a mark of its own."""
        return steps_of(
            self.spans, self.lines, entries=self.entries, turn=turn, epoch_us=self.epoch_us
        )


def see_orders(run: SeenRun, ordinals: Collection[int]) -> dict[int, SeenOrder]:
    """What is known of some orders, by their ordinals."""
    lines: list[LogLine] = []
    found = {
        ordinal: SeenOrder(epoch_us=run.epoch_us, lines=lines)
        for ordinal in dict.fromkeys(ordinals)
    }

    def take(seen: Span | LogLine) -> None:
        if isinstance(seen, LogLine):
            lines.append(seen)
        elif seen.subject and (order := found.get(ordinal_of(seen.subject))) is not None:
            order.spans.append(seen)

    def keep(entry: Entry) -> None:
        order = found.get(ordinal_of(subject_of(entry)))
        if order is not None:
            order.entries.append(entry)

    if found:
        run.view(take, about=ordinals, keep=keep)
    return found


class OrderListener:
    """A sink that keeps the entries of one order."""

    def __init__(self, ordinal: int) -> None:
        self.entries: list[Entry] = []
        self._ordinal = ordinal

    def take(self, batch: Sequence[Entry]) -> None:
        """See `lab.history.recorder.Sink`."""
        wanted = self._ordinal
        self.entries += [one for one in batch if ordinal_of(subject_of(one)) == wanted]
