"""A few seeds of random policies (`tests/policies.py`): what is accepted breaks no promise."""

import pytest

from lab.settings import SIMULATED, settings_for
from lab.settings_table import SETTINGS
from tests.policies import WEAK, draw_policy, make_policy_spec, run_policy

SEEDS = range(1, 41)


@pytest.mark.parametrize("seed", SEEDS)
def test_accepted_policies_break_no_promise_in_peace_and_under_a_fault(seed: int) -> None:
    for under_fault in (False, True):
        ran = run_policy(make_policy_spec(seed, under_fault=under_fault))

        assert ran.broken == {}, ran.reproduce


def test_every_policy_is_drawn_and_each_draw_is_accepted() -> None:
    drawn: dict[str, object] = {}
    for seed in range(1, 101):
        policy = draw_policy(seed)
        settings_for(SIMULATED).with_changes(policy)
        drawn |= policy

    assert drawn.keys() == {setting.name for setting in SETTINGS}
    assert not set(drawn.items()) & set(WEAK)
