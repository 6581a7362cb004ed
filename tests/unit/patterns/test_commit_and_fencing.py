"""The two rules that the delivery loop is handed: which position counts, and which epoch."""

from dataclasses import dataclass

import pytest

from lab.patterns.commit_prefix import commit_highest, commit_prefix
from lab.patterns.fencing import accept_any, accept_present


@dataclass(frozen=True)
class Settled:
    contiguous: int
    highest: int


@pytest.mark.parametrize(
    ("settled", "strong", "weak"),
    [
        (Settled(contiguous=5, highest=4), 5, 5),
        (Settled(contiguous=5, highest=9), 5, 10),
        (Settled(contiguous=5, highest=-1), 5, 5),
    ],
)
def test_only_the_weak_position_passes_what_is_unsettled(
    settled: Settled, strong: int, weak: int
) -> None:
    assert commit_prefix(settled) == strong
    assert commit_highest(settled) == weak


@pytest.mark.parametrize(("epoch", "present"), [(3, 4), (3, 0), (4, 3)])
def test_only_the_weak_part_accepts_another_epoch(epoch: int, present: int) -> None:
    assert not accept_present(epoch, present)
    assert accept_any(epoch, present)


def test_the_present_epoch_is_accepted() -> None:
    assert accept_present(3, 3)
