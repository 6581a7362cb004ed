"""Processes that are forked: each is one of its own, and its end is heard whatever ends it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.runtime.errors import SimulationError
from lab.runtime.fork_server import IS_SUPPORTED, Forked, ForkServer

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="fork servers are used on Linux only")

BECOME = "tests.kit.forked:become"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "log").open("ab") as file:
        yield file.fileno()


Main = Callable[[ForkServer], Coroutine[Any, Any, None]]


def run(main: Main, log: int, become: str = BECOME, pass_fds: tuple[int, ...] = ()) -> None:
    async def within() -> None:
        async with ForkServer(become, stderr=log, pass_fds=pass_fds) as server:
            await main(server)

    asyncio.run(within())


async def said(fork: Forked) -> list[str]:
    return (await fork.stdout.readline()).decode().split()


def test_each_fork_has_a_session_and_a_memory_of_its_own(log: int) -> None:
    async def main(server: ForkServer) -> None:
        forks = [await server.start(f"say {word}", stderr=log) for word in ("a", "b", "c")]
        told = [await said(fork) for fork in forks]
        assert [words[0] for words in told] == ["a", "b", "c"]
        for words, fork in zip(told, forks, strict=True):
            assert words[1:] == [str(fork.begun.result())] * 2
        assert len({words[1] for words in told}) == 3

    run(main, log)


@pytest.mark.parametrize(
    ("word", "code"), [("exit 0", 0), ("exit 4", 4), ("exit 255", 255), ("fail", 1)]
)
def test_the_exit_code_of_a_fork_is_heard(word: str, code: int, log: int, tmp_path: Path) -> None:
    async def main(server: ForkServer) -> None:
        fork = await server.start(word, stderr=log)
        assert await fork.wait() == fork.returncode == code
        assert await fork.stdout.read() == b""
        fork.kill()  # Nobody has its number any more, as far as anybody knows.

    run(main, log)
    assert ("a mistake of its own" in (tmp_path / "log").read_text()) is (word == "fail")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_one_fork_and_nobody_else(number: signal.Signals, log: int) -> None:
    async def main(server: ForkServer) -> None:
        one, other = [await server.start("hang", stderr=log) for _ in range(2)]
        await said(one)
        await said(other)
        one.send_signal(number)
        assert await one.wait() == -number
        again = await server.start("exit 3", stderr=log)
        assert await again.wait() == 3
        assert other.returncode is None
        other.kill()
        assert await other.wait() == -signal.SIGKILL

    run(main, log)


def test_a_fork_that_is_stopped_has_not_ended(log: int) -> None:
    async def main(server: ForkServer) -> None:
        fork = await server.start("hang", stderr=log)
        await said(fork)
        fork.send_signal(signal.SIGSTOP)
        assert await (await server.start("exit 0", stderr=log)).wait() == 0
        assert fork.returncode is None
        fork.kill()
        assert await fork.wait() == -signal.SIGKILL

    run(main, log)


def test_many_that_end_at_once_are_all_heard_and_leave_no_zombie(log: int) -> None:
    async def main(server: ForkServer) -> None:
        forks = [await server.start(f"exit {number}", stderr=log) for number in range(40)]
        assert [await fork.wait() for fork in forks] == list(range(40))
        # Whoever answers this has read every answer before.
        assert await (await server.start("exit 0", stderr=log)).wait() == 0
        assert await (await server.start("exit 0", stderr=log)).wait() == 0
        for fork in forks:
            with pytest.raises(ProcessLookupError):
                os.kill(fork.begun.result(), 0)

    run(main, log)


def test_a_process_number_is_nobody_elses_until_the_end_was_heard(log: int) -> None:
    async def main(server: ForkServer) -> None:
        fork = await server.start("exit 0", stderr=log)
        pid = fork.begun.result()
        # The loop does not turn: it ends unheard, and keeps its number.
        for _ in range(1_000_000):
            if _is_zombie(pid):
                break
        fork.send_signal(signal.SIGTERM)
        assert await fork.wait() == 0

    run(main, log)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_fork_has_nothing_of_its_server_but_what_it_imported(log: int) -> None:
    async def main(server: ForkServer) -> None:
        fork = await server.start("look", stderr=log)
        sigchld, sigterm, wakeup, is_frozen, *links = await said(fork)
        assert (sigchld, sigterm, wakeup, is_frozen) == ("True", "True", "-1", "True")
        assert links[:2] == ["pipe", "pipe"]
        assert len(links) == 3, "its streams, and nothing else"

    run(main, log)


def test_a_start_that_is_cancelled_leaves_nobody(log: int) -> None:
    async def main(server: ForkServer) -> None:
        for turns in (0, 1, 2, 3, 4):
            before = _handles()
            starting = asyncio.ensure_future(server.start("hang", stderr=log))
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert not server._forks
            await asyncio.sleep(0)
            assert len(_handles()) <= len(before)
        last = await server.start("exit 3", stderr=log)
        assert await last.wait() == 3

    run(main, log)


def _handles() -> list[str]:
    return [entry.name for entry in Path("/proc/self/fd").iterdir()]


def test_as_many_may_be_asked_for_at_once_as_anybody_likes(log: int) -> None:
    async def main(server: ForkServer) -> None:
        forks = await asyncio.gather(*[server.start("exit 5", stderr=log) for _ in range(400)])
        assert {await fork.wait() for fork in forks} == {5}

    run(main, log)


def test_open_files_that_were_named_are_inherited(log: int, tmp_path: Path) -> None:
    with (tmp_path / "held").open("wb") as held:

        async def main(server: ForkServer) -> None:
            fork = await server.start(f"hold {held.fileno()}", stderr=log)
            assert await fork.wait() == 0

        run(main, log, pass_fds=(held.fileno(),))
    assert (tmp_path / "held").read_bytes() == b"held"


def test_once_its_server_is_gone_a_fork_reads_the_end_and_nobody_waits_for_ever(log: int) -> None:
    async def main(server: ForkServer) -> None:
        fork = await server.start("say a", stderr=log)
        pid = int((await said(fork))[1])
        server._process.kill()
        with pytest.raises(SimulationError, match="forks the others has ended"):
            await fork.wait()
        with pytest.raises(SimulationError, match="forks the others has ended"):
            await server.start("exit 0", stderr=log)
        for _ in range(1_000):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("it goes on")

    run(main, log)


def test_a_server_that_cannot_import_says_so_to_whoever_asks(log: int, tmp_path: Path) -> None:
    async def main(server: ForkServer) -> None:
        with pytest.raises(SimulationError, match="forks the others has ended"):
            await server.start("exit 0", stderr=log)

    run(main, log, become="no.such.module:become")
    assert "No module named 'no'" in (tmp_path / "log").read_text()


def test_a_server_that_nobody_asks_any_more_ends_and_its_forks_too() -> None:
    """Its supervisor is killed: nothing is closed in order."""
    program = f"""
import asyncio, os, sys
from lab.runtime.fork_server import ForkServer
async def main():
    server = ForkServer({BECOME!r}, stderr=2)
    fork = await server.start("say a", stderr=2)
    print(server._process.pid, (await fork.stdout.readline()).decode().split()[1], flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""

    supervisor = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=False, timeout=30
    )
    assert supervisor.returncode == -signal.SIGKILL
    left = [int(word) for word in supervisor.stdout.split()]
    assert len(left) == 2
    for _ in range(1_000):
        left = [pid for pid in left if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]
        if not left:
            return
        time.sleep(0.01)
    raise AssertionError(f"{left} go on")
