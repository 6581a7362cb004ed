"""Units of work that no store takes: each is a mistake of the service that asks.

Looked for before anything is applied, the same in every store. Not here: units that came too late,
which are no mistake and get a verdict, and whether a state may follow another: the promise
`legal-transitions` judges that, and a store that refused would hide the mistake.
"""

from lab.domain.events import EVENT_OF_STATE
from lab.domain.order import OrderState
from lab.ports.store import Unit


def check_unit(unit: Unit) -> None:
    """Refuse a unit that no service may ask for.

    An event tells of exactly the change of its unit: so (order, version) is unique among events,
    and nobody hears of a state that the order is not in.

    Raises:
        ValueError: an event that tells of no change of this unit or of another state, or two steps
            of one intent.
    """
    if unit.events:
        _check_events(unit)
    if unit.intents and len(unit.intents) > 1:
        named = {(step.intent.kind, step.intent.n) for step in unit.intents}
        if len(named) < len(unit.intents):
            raise ValueError(f"a unit of {unit.by!r} takes two steps of one intent")


def _check_events(unit: Unit) -> None:
    if unit.create is not None:
        version, state = 1, OrderState.PENDING
    elif unit.change is not None:
        version, state = unit.change.version + 1, unit.change.to
    else:
        raise ValueError(f"a unit of {unit.by!r} owes {_named(unit)}, and changes no order")
    event = unit.events[0]
    wanted = EVENT_OF_STATE[state]
    if len(unit.events) > 1 or event.sequence != version or event.type != wanted:
        raise ValueError(
            f"a unit of {unit.by!r} owes {_named(unit)}; it may owe one event, {wanted} of version "
            f"{version}"
        )


def _named(unit: Unit) -> str:
    return ", ".join(f"{event.type} of version {event.sequence}" for event in unit.events)
