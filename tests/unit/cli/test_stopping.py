"""Signals that end a command as Ctrl-C does, also where Ctrl-C itself is ignored."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from lab.cli.stopping import ENDING, ended_as_by_ctrl_c


@pytest.fixture(autouse=True)
def background() -> Iterator[None]:
    """As in the background of a script: SIGINT is ignored, the others are not."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in usual.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_job_of_a_script_can_be_ended_and_still_ignores_ctrl_c(number: signal.Signals) -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        return "a partial report"

    with ended_as_by_ctrl_c():
        assert asyncio.run(main()) == "a partial report"
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_without_a_loop_it_is_an_interrupt() -> None:
    with ended_as_by_ctrl_c(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
