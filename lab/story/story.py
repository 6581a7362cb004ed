"""The story of one order: three sentences, its steps, and where it parts from another run.

Not here: reading a run (`lab.wiring.stories`), and its looks (`lab.cli.explain`).
"""

import msgspec

from lab.story.steps import StoryStep


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three plain sentences.

    Attributes:
        label: one word, such as `Promised`.
        text: the sentence.
    """

    label: str
    text: str


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one of two runs did where they part.

    Attributes:
        label: which run it is, such as `without dedupe`.
        told: what was done, then what followed; first None: nothing more.
    """

    label: str
    told: tuple[str, ...]


class PartsHere(msgspec.Struct, frozen=True, kw_only=True):
    """Where two runs part.

    Attributes:
        before: the last thing that both did, "" if they part at once.
        sides: of both runs; none: they do the same with this order.
    """

    before: str
    sides: tuple[Side, ...]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one order.

    Attributes:
        run: its name, as `scenario/folder`.
        why: why this order, in a sentence.
        sentences: what was promised, what happened instead, what made it inevitable; of a run that
            broke nothing: what was promised, what was done to it, what saved it.
        turning_entry: the line in `history.ndjson` of the entry that made it inevitable.
        epoch_us: microseconds since 1970 at which the clock of the run showed 0.
        steps: its way; none: its entries were not kept.
        parting: None: it was compared with no other run.
        notes: what a reader should know of the story itself.
    """

    run: str
    scenario: str
    seed: int
    mode: str
    verdict: str
    order: int
    why: str
    sentences: tuple[Sentence, ...]
    turning_entry: int | None
    epoch_us: int
    steps: tuple[StoryStep, ...]
    parting: PartsHere | None = None
    notes: tuple[str, ...] = ()
