"""Calls that ended without a success, and what there is of them all the same.

An error says whether anything can have been done. One that says too little makes a caller ask once
more; one that says too much makes him act as if nothing had happened. Not here: the promise
(`promises/orders`).
"""

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from lab.checks.order_case import Case

_IN_DOUBT: Final = ("Indeterminate", "cancelled")
_NOTHING: Final = ("Transient", "Down")
"""Errors of a commit that say that nothing was applied."""

_SKEW_MAX_US: Final = 100_000
"""A call is over sooner than it is made again."""


class Denied(NamedTuple):
    """A process heard of the commit that would end the handling of an event, and not that it was.

    `result`: a verdict but `conflict`, or the error.
    """

    group: str
    event_id: str
    begun_us: int
    result: str


class Unheard(NamedTuple):
    """A call to a third party, from its begin to its end, that failed or was cancelled."""

    provider: str
    action: str
    begun_us: int
    t_us: int
    result: str


def done_all_the_same(case: "Case", skew_us: int) -> list[Denied]:
    """Of each event that is done, and was by nobody, a commit that was told it is not.

    The store's clock and the caller's may differ by `skew_us`.
    """
    found = []
    for outcome in case.outcomes:
        owed = (outcome.group, outcome.event_id)
        if outcome.outcome != "done" or owed in case.settled:
            continue
        tries = [each for each in case.denied if (each.group, each.event_id) == owed]
        if not any(each.result in _IN_DOUBT for each in tries):
            known_us = outcome.t_us + skew_us
            found += [
                each for each in tries if each.result in _NOTHING and each.begun_us <= known_us
            ][:1]
    return found


def unsent(case: "Case", slack_us: int, skew_us: int) -> str:
    """A request that a third party had, and its caller does not know of; "" if there is none.

    Its clock may differ from the caller's by `skew_us`; if by much, nobody can tell which of
    several calls it was.
    """
    if skew_us > _SKEW_MAX_US:
        return ""
    slack_us += skew_us
    for said in case.answered:
        if said.answer != "silent":
            continue
        results = {
            call.result
            for call in case.unheard
            if (call.provider, call.action) == (said.provider, said.action)
            and call.begun_us - slack_us <= said.t_us <= call.t_us + slack_us
        }
        if results == {"Transient"}:
            return f"{said.provider} had its {said.action} and kept silent: that ended as Transient"
    return ""
