"""What a unit of work may ask of the store in memory: its events, and the steps of its intents.

Pure: decided from values, applied elsewhere. Not here: orders and their versions
(`memory`).
"""

import msgspec

from lab.domain.order import Intent, OrderState
from lab.ports.store import IntentChange, IntentOp, Unit


def check_events(unit: Unit) -> None:
    """An event tells of exactly the version that its unit makes, so (order, version) is unique.

    Raises:
        ValueError: it does not.
    """
    version = 1 if unit.create is not None else unit.change.version + 1 if unit.change else 0
    if len(unit.events) != 1 or unit.events[0].sequence != version:
        told = ", ".join(f"{event.type} {event.sequence}" for event in unit.events)
        raise ValueError(
            f"a unit of {unit.by!r} owes the events [{told}]; it may owe one, of version {version} "
            "(0: it changes no order)"
        )


def stepped(
    intents: tuple[Intent, ...], step: IntentChange, state: OrderState, now_us: int
) -> tuple[Intent, ...] | None:
    """The intents of an order after one step; None if the step is not possible."""
    if step.before_us and now_us >= step.before_us:
        return None
    wanted = step.intent
    place = next(
        (
            place
            for place, intent in enumerate(intents)
            if intent.n == wanted.n and intent.kind is wanted.kind
        ),
        None,
    )
    if step.op is IntentOp.OPEN:
        return (*intents, wanted) if place is None and state in step.while_in else None
    if place is None or not intents[place].is_open:
        return None
    present = intents[place]
    expected_us = step.expected_send_until_us
    if step.op is IntentOp.CLOSE:
        if expected_us and present.send_until_us != expected_us:
            return None
        changed = msgspec.structs.replace(present, is_open=False)
    elif present.send_until_us != expected_us or state not in step.while_in:
        return None
    else:
        # Never earlier: a send may be on its way under the present one.
        until_us = max(present.send_until_us, wanted.send_until_us)
        changed = msgspec.structs.replace(present, send_until_us=until_us)
    return (*intents[:place], changed, *intents[place + 1 :])
