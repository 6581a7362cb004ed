"""The scripted operator of a run, in whichever world: it needs a publisher and an onlooker."""

from collections.abc import Sequence

from lab.domain.events import READS, topics_of
from lab.history.recorder import Write
from lab.ports.bus import Publisher, TopicReader, dead_letter_topic
from lab.ports.clock import Clock
from lab.scenarios.operator import ScriptedOperator
from lab.wiring.policy import Policy, Switches


def dead_letter_queues() -> Sequence[str]:
    """The dead-letter queues of every group."""
    return [dead_letter_topic(topic, group) for group in READS for topic in topics_of(group)]


def make_operator(
    policy: Policy,
    *,
    reader: TopicReader,
    publisher: Publisher,
    clock: Clock,
    write: Write | None,
) -> ScriptedOperator | None:
    """The operator that the settings ask for; None if nobody is to look.

    Args:
        policy: of the run.
        reader: reads dead-letter queues.
        publisher: takes the redriven events; no fault strikes it.
        clock: of the run.
        write: takes the entries of the history, or None.
    """
    settings = policy.settings
    redrives, discards = settings.number("operator.redrives"), settings.text("operator.discards")
    make_redrive = policy.part(Switches.redrive)
    if make_redrive is None or (not redrives and discards == "no"):
        return None
    return ScriptedOperator(
        make_redrive(
            queues=dead_letter_queues(),
            reader=reader,
            publisher=publisher,
            clock=clock,
            rate=settings.real("operator.rate"),
            write=write,
        ),
        redrives=redrives,
        discards=discards,
        every_us=settings.us("operator.every_ms"),
    )
