"""What is done behind a real run is done whole, whoever loses patience."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from lab.runtime.uninterrupted import cancelled_by_ctrl_c, uninterrupted


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


def test_ctrl_c_however_often_cancels_nobody_but_who_waits() -> None:
    done = []

    async def tidy() -> str:
        for number in range(3):
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
            done.append(number)
        return "judged"

    async def main() -> tuple[str, bool]:
        with cancelled_by_ctrl_c():
            found = await uninterrupted(tidy())
        assert signal.getsignal(signal.SIGINT) is before[0]
        return found

    async def start() -> tuple[str, bool]:
        before.append(signal.getsignal(signal.SIGINT))
        return await main()

    before: list[object] = []
    assert asyncio.run(start()) == ("judged", True)
    assert done == [0, 1, 2]


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main() -> None:
        with cancelled_by_ctrl_c():
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)

    asyncio.run(main())


def test_what_fails_behind_a_run_fails() -> None:
    async def tidy() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(uninterrupted(tidy()))
