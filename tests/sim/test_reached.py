"""What there is to reach is reached: by the shipped scenarios, and by seeds of `everything`.

Not here: all 500 seeds of it, which `python -m tests.soak --seeds 1-500 --catalogue 3` runs and holds
at the same table without `RARE`.
"""

from typing import Final

import pytest

from lab.scenarios.loader import load_catalogue
from tests import soak
from tests.kit.reached import UNREACHABLE, all_names

SEEDS: Final = range(1, 61)

RARE: Final[frozenset[str]] = frozenset()
"""Names that so few seeds do not reach, and 500 do."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_that_can_be_reached_is_reached() -> None:
    found = [soak.run_seed(seed, 20) for seed in SEEDS]
    found += [
        soak.run_seed(1, None, name) for name in load_catalogue() if name != soak.SCENARIO
    ]

    reached = {name for one in found for name in one.reached}
    missing = [name for name in all_names() if name not in reached]

    assert [name for name in missing if name not in UNREACHABLE and name not in RARE] == []
    assert sorted(reached & UNREACHABLE.keys()) == []


def test_what_cannot_be_reached_is_in_the_table_and_says_why() -> None:
    assert set(all_names()) >= UNREACHABLE.keys() | RARE
    assert all(UNREACHABLE.values())
    assert not RARE & UNREACHABLE.keys()
