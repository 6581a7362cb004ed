"""A charge is executed, its answer is lost, and the next attempt, under a new key, charges again.

The customer pays twice, and no log of ours shows the first time.

So a key belongs to the *intent*, not to the attempt: a provider that has seen it gives its old
answer again. Where the same key has been tried often enough, or could have been forgotten, the
provider is asked what it knows before anything is sent. Mails go under the id of their event.

The weak part makes a new key for each call, whoever makes it, and never asks first.
"""

from collections.abc import Sequence
from typing import Final

from lab.domain.order import Intent
from lab.history.pen import Pen
from lab.ports.providers import ChargeState, Known
from lab.ports.strategies import ProviderKeys

_WEIGHT: Final = (
    ChargeState.CAPTURED,
    ChargeState.REFUNDED,
    ChargeState.PENDING,
    ChargeState.DECLINED,
)
"""Answers by weight, the heaviest first: a refusal proves nothing while a send is under way."""


class KeyPerIntent(ProviderKeys):
    """One key for all sends under an intent.

    Args:
        query_after: answers that may get lost, or stay the same error, before the provider is
            asked. Attempts are counted in their place: they survive a crash, and asking once too
            often costs a question.
        lifetime_us: how long a provider remembers a key; past half of it nobody relies on that.
    """

    def __init__(self, *, query_after: int, lifetime_us: int, **_: object) -> None:
        self._query_after = query_after
        self._trusted_us = lifetime_us // 2

    def of_send(self, intent: Intent, attempt: int) -> str:  # noqa: ARG002 - the port's shape
        return intent.key

    def of_mail(self, event_id: str, attempt: int) -> str:  # noqa: ARG002 - the port's shape
        return event_id

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:
        return attempt > self._query_after or redrives > 0 or age_us > self._trusted_us

    def found(self, intent: Intent, known: Sequence[Known]) -> Known:
        return _weightiest(intent, [each for each in known if each.key == intent.key])


class KeyPerCall(ProviderKeys):
    """The weak part: the provider cannot tell a repetition from a new wish.

    A key is new also where the attempt is the old one: after a crash, a lost lease, or in a second
    delivery.

    Args:
        pen: the name of the process life and its clock; with a count they are new for every call.
    """

    def __init__(self, *, pen: Pen, **_: object) -> None:
        self._pen = pen
        self._calls = 0

    def of_send(self, intent: Intent, attempt: int) -> str:  # noqa: ARG002 - the port's shape
        return self._new(intent.key)

    def of_mail(self, event_id: str, attempt: int) -> str:  # noqa: ARG002 - the port's shape
        return self._new(event_id)

    def asks_first(self, *, attempt: int, redrives: int, age_us: int) -> bool:  # noqa: ARG002 - the port's shape
        return False

    def found(self, intent: Intent, known: Sequence[Known]) -> Known:
        mine = f"{intent.key}:"
        return _weightiest(intent, [each for each in known if each.key.startswith(mine)])

    def _new(self, begin: str) -> str:
        self._calls += 1
        return f"{begin}:{self._pen.process}.{self._pen.now()}.{self._calls}"


def _weightiest(intent: Intent, mine: Sequence[Known]) -> Known:
    for state in _WEIGHT:
        for each in mine:
            if each.state is state:
                return each
    return Known(key=intent.key, state=ChargeState.NONE)
