"""What there is to reach is reached: by every shipped scenario, and by 500 seeds of `everything`.

`python -m tests.soak --seeds 1-500 --catalogue 1` prints the same as a table, how often each.
"""

from typing import Final

import pytest

from lab.scenarios.loader import load_catalogue
from tests import soak
from tests.kit.reached import UNREACHABLE, all_names

SEEDS: Final = range(1, 501)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_that_can_be_reached_is_reached() -> None:
    missing = dict.fromkeys(all_names())
    for name in load_catalogue():
        for reached in soak.run_seed(1, 20 if name == soak.SCENARIO else None, name).reached:
            missing.pop(reached, None)
    for seed in SEEDS:
        found = soak.run_seed(seed, 20)
        assert found.broken == {}, found.reproduce
        for reached in found.reached:
            missing.pop(reached, None)

    assert list(missing) == [name for name in all_names() if name in UNREACHABLE]


def test_what_cannot_be_reached_is_in_the_table_and_says_why() -> None:
    assert set(all_names()) >= UNREACHABLE.keys()
    assert all(UNREACHABLE.values())
