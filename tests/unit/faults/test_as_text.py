"""A firing as a text asks for that firing and for no other."""

import pytest

from lab.faults.plan.as_text import fault_of
from lab.faults.plan.file import Firing
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import parse_fault
from lab.runtime.chance import KeyedChance


def fired(text: str, *, visits: int = 40) -> list[Firing]:
    """What a fault does to some orders at each of its sites."""
    plan = FaultPlan(
        (parse_fault(text),), seed=1, chance=KeyedChance(1), now_us=lambda: 0, explicit=None
    )
    plan.begin()
    for site in plan.sites(parse_fault(text).kind):
        for number in range(visits):
            one = plan.at(parse_fault(text).kind, site)
            subject = f"{number % 7 + 1}.{number % 2 + 1}"
            occurrence = one.visit(subject)
            if occurrence and (found := one.toss(subject, occurrence)) is not None:
                one.strike(found)
    return [*plan.firings, *plan.timetable()]


@pytest.mark.parametrize("kind", [name for name, row in KINDS.items() if not row.is_state])
def test_every_kind_of_fault_that_fired_can_be_said(kind: str) -> None:
    row = KINDS[kind]
    if row.is_outage:
        text = f"{kind} at=1500ms for=2s"
    elif row.is_timed:
        text = f"{kind}@payment at=250ms"
        if row.lasts:
            text += " for=1s"
    else:
        text = f"{kind} rate=0.4"
    firings = fired(text)
    assert firings, text

    for firing in firings:
        said = fault_of(firing)
        assert said is not None, firing
        (again,) = fired(said)
        assert (again.kind, again.site, again.occurrence) == (
            firing.kind,
            firing.site,
            1 if firing.is_timed else firing.occurrence,
        )
        assert again.params == firing.params
        assert again.subject.partition(".")[0] == firing.subject.partition(".")[0]
        assert not firing.is_timed or again.t_us == firing.t_us


@pytest.mark.parametrize(
    "text",
    [
        "svc.error@mailer status=429 after=3s",
        "svc.error@payment_gateway status=503 done=yes",
        "proc.pause@payment at=2s for=60s",
        "clock.jump@payment at=2s by=-5m",
        "proc.term@payment-2 at=1234567us",
    ],
)
def test_parameters_are_said_exactly(text: str) -> None:
    (first, *_) = fired(text)

    said = fault_of(first)

    assert said is not None
    (again, *_) = fired(said)
    assert (again.params, again.t_us) == (first.params, first.t_us)


@pytest.mark.parametrize("kind", [name for name, row in KINDS.items() if row.is_state])
def test_a_state_strikes_by_what_others_do_and_cannot_be_said_of_one_visit(kind: str) -> None:
    (firing, *_) = fired(kind)

    assert fault_of(firing) is None
