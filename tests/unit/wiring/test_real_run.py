"""What is done behind a real run is done whole, whoever loses patience."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from lab.runtime.uninterrupted import uninterrupted


@pytest.fixture(autouse=True)
def at_a_keyboard() -> Iterator[None]:
    """SIGINT is what it is in a terminal."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_ctrl_c_behind_a_run_cuts_nothing_short_and_is_told(*, is_interrupted: bool) -> None:
    done = []

    async def tidy() -> str:
        if is_interrupted:
            signal.raise_signal(signal.SIGINT)
        for number in range(3):
            await asyncio.sleep(0)
            done.append(number)
        return "judged"

    assert asyncio.run(uninterrupted(tidy())) == ("judged", is_interrupted)
    assert done == [0, 1, 2]


def test_what_fails_behind_a_run_fails() -> None:
    async def tidy() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(uninterrupted(tidy()))
