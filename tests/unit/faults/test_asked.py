"""A fault that was asked for and never fired is found, whatever other fault fired in its place."""

import pytest

from lab.faults.plan.asked import never_fired
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.spec import parse_faults
from lab.runtime.chance import KeyedChance


def make_plan(*texts: str, now_us: int = 0) -> FaultPlan:
    time = [0]
    plan = FaultPlan(parse_faults(texts), seed=7, chance=KeyedChance(7), now_us=lambda: time[0])
    plan.begin()
    time[0] = now_us
    return plan


def missed(plan: FaultPlan) -> list[str]:
    return [spec.text for spec in never_fired(plan, plan.specs)]


@pytest.mark.parametrize(
    "text",
    [
        "svc.error@mailer rate=0",
        "svc.error@mailer#999",
        "svc.error@mailer:3",
        "svc.error@mailer at=1h",
        "svc.error@mailer rate=1 for=1s",
        "svc.error@warehouse",
        "svc.timeout@mailer",
        "svc.error@mailer status=400",
    ],
)
def test_a_fault_that_never_fired_is_found_beside_one_of_its_kind_that_did(text: str) -> None:
    plan = make_plan("svc.error@mailer first=2", text, now_us=5_000_000)
    site = plan.at("svc.error", "mailer")
    assert site.fires("1.1")
    assert site.fires("1.1")
    assert missed(plan) == [text]


def test_faults_of_one_kind_and_place_share_their_firings() -> None:
    plan = make_plan("svc.slow@mailer#1 by=1s", "svc.slow@mailer rate=1 by=500ms..2s")
    assert plan.at("svc.slow", "mailer").fires("1.1")
    assert missed(plan) == []


def test_a_rate_accounts_for_the_firings_of_its_own_coin_only() -> None:
    plan = make_plan("svc.error@mailer#1-40 first=1", "svc.error@mailer rate=0.000001")
    for ordinal in range(1, 41):
        assert plan.at("svc.error", "mailer").fires(f"{ordinal}.1")
    assert missed(plan) == ["svc.error@mailer rate=0.000001"]


def test_a_fault_that_strikes_at_a_time_is_known_by_its_place_in_the_timetable() -> None:
    asked = ("proc.term@payment at=2s", "proc.term@payment at=3s", "redis.down for=1s")
    plan = make_plan(*asked)
    first, second, _ = sorted(plan.timetable(), key=lambda firing: firing.occurrence)
    plan.record(second)
    assert missed(plan) == [asked[0], asked[2]]
    plan.record(first)
    assert missed(plan) == [asked[2]]
