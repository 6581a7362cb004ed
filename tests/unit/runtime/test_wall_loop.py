"""Claims about simulated processes on the wall clock, with sockets of this machine."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.ports.http import NoAnswer, NotSent
from lab.runtime.clock import SystemClock, VirtualClock
from lab.runtime.errors import DeadlockError, RealIOError, SimulationError, TimeLimitError
from lab.runtime.http_caller import http_caller
from lab.runtime.http_server import http_server
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.processes import SimProcess
from lab.runtime.virtual_loop import sleep_us, suspend
from lab.runtime.wall_loop import WallLoop, WallScheduler
from tests.kit.process_ends import crash_here, wait_exit
from tests.kit.pythons import VERSIONS, lab_python
from tests.kit.wall_world import SECOND_US, call, run

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that says everything twice, and a note of what of its code ran."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.port = 0

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = server.sockets[0].getsockname()[1]

    async def main(self, started: "asyncio.Future[None]") -> None:
        await self.start()
        started.set_result(None)
        await asyncio.get_running_loop().create_future()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.log.append(line.decode().strip())
                writer.write(line * 2)
        finally:
            self.log.append("finally")
            writer.close()


@contextlib.asynccontextmanager
async def connection(port: int, host: str = HOST) -> AsyncIterator[Streams]:
    streams = await asyncio.open_connection(host, port)
    try:
        yield streams
    finally:
        streams[1].close()


async def talk(streams: Streams, word: str) -> list[str]:
    """What the echo server answers."""
    reader, writer = streams
    writer.write(f"{word}\n".encode())
    return [(await reader.readline()).decode().strip() for _ in range(2)]


# ---- time


def test_timers_run_in_order_and_not_before_they_are_due() -> None:
    ran: list[tuple[int, bool]] = []

    async def main(world: WallScheduler) -> None:
        def note(us: int) -> None:
            ran.append((us, world.now_us >= us))

        now_us = world.now_us
        for us in (3000, 1000, 2000, 1000):
            world.root.call_at_us(now_us + us, note, now_us + us)
        world.root.call_at_us(now_us, note, now_us)
        await sleep_us(4000)
        assert ran == [(now_us + us, True) for us in (0, 1000, 1000, 2000, 3000)]

    run(main)


def test_a_sleep_takes_its_time_on_either_clock() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("p", skew_us=SECOND_US)

        async def sleeps() -> None:
            virtual, system = VirtualClock(process), SystemClock()
            for sleep in (virtual.sleep_us, system.sleep_us):
                before = (virtual.now_us(), system.now_us())
                await sleep(2500)
                assert virtual.now_us() - before[0] >= 2500
                assert system.now_us() - before[1] >= 2500
            assert virtual.now_us() - world.now_us < SECOND_US + 1
            assert abs(virtual.wall_us() - SECOND_US - system.wall_us()) < SECOND_US

        await call(process, sleeps())

    run(main)


def test_tasks_that_are_always_ready_hold_up_neither_timers_nor_sockets() -> None:
    async def main(world: WallScheduler) -> None:
        async def spin() -> None:
            while True:
                await suspend()

        left, right = socket.socketpair()
        with left, right:
            for end in (left, right):
                end.setblocking(False)  # noqa: FBT003 - its signature
            for _ in range(100):
                world.process("busy").spawn(spin())
            await sleep_us(100)
            reading = world.root.create_task(world.root.sock_recv(left, 10))
            await suspend()
            right.send(b"hello")
            assert await reading == b"hello"

    run(main)


def test_the_run_fails_when_it_takes_longer_than_its_limit() -> None:
    with WallScheduler() as world, pytest.raises(TimeLimitError, match="more than 5,000 us"):
        world.run(asyncio.sleep(1000), until_us=5000)


def test_a_world_in_which_nothing_can_happen_any_more_says_who_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with WallScheduler() as world, pytest.raises(DeadlockError, match="harness: main at runtime/"):
        world.run(waits_for_ever())


def test_a_later_run_goes_on_and_a_closed_world_refuses() -> None:
    async def main(started: list[int]) -> int:
        await suspend()
        started.append(1)
        return len(started)

    started: list[int] = []
    with WallScheduler() as world:
        assert [world.run(main(started)) for _ in range(2)] == [1, 2]
    with pytest.raises(SimulationError, match="closed"):
        world.run(main(started))


def test_on_instant_is_called_between_two_waits() -> None:
    seen: list[int] = []

    async def main() -> None:
        for _ in range(3):
            await sleep_us(100)

    with WallScheduler(on_instant=lambda: seen.append(world.now_us)) as world:
        world.run(main())
    assert len(seen) >= 4
    assert seen == sorted(seen)


# ---- processes with sockets


def test_two_processes_talk_through_a_socket() -> None:
    async def main(world: WallScheduler) -> None:
        echo, client = Echo(), world.process("client")
        await call(world.process("server"), echo.start())

        async def talks() -> list[str]:
            assert asyncio.get_running_loop() is client
            async with connection(echo.port, "localhost") as streams:
                return await talk(streams, "hi")

        assert await call(client, talks()) == ["hi", "hi"]

    run(main)


def test_unix_sockets_work_in_a_process(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main(world: WallScheduler) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        async def start() -> None:
            await asyncio.start_unix_server(serve, path)

        async def talks() -> bytes:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hi\n")
            answer = await reader.read()
            writer.close()
            return answer

        await call(world.process("server"), start())
        assert await call(world.process("client"), talks()) == b"hi\n"

    run(main)


def test_a_kill_runs_no_code_and_ends_the_connections_at_once() -> None:
    echo = Echo()

    async def main(world: WallScheduler) -> None:
        server = world.process("server")
        await call(server, echo.start())
        async with connection(echo.port) as idle, connection(echo.port) as busy:
            assert await talk(idle, "idle") == ["idle"] * 2
            assert await talk(busy, "busy") == ["busy"] * 2
            server.pause()
            # The kernel has it, the process has not: closing the socket is a reset then.
            busy[1].write(b"unread\n")
            server.kill()
            assert await idle[0].read() == b""
            with pytest.raises(ConnectionResetError):
                await busy[0].read()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, echo.port)

    run(main)
    gc.collect()
    assert echo.log == ["idle", "busy"]


def test_a_kill_closes_sockets_that_nobody_waits_for() -> None:
    async def main(world: WallScheduler) -> None:
        victim = world.process("victim")
        port = 0

        async def binds_and_connects(to: int) -> None:
            nonlocal port
            bound = socket.socket()
            bound.bind((HOST, 0))
            port = bound.getsockname()[1]
            connected = socket.create_connection((HOST, to))
            await asyncio.get_running_loop().create_future()
            bound.close()
            connected.close()

        with socket.socket() as listening:
            listening.bind((HOST, 0))
            listening.listen()
            victim.spawn(binds_and_connects(listening.getsockname()[1]))
            await suspend()
            accepted, _ = listening.accept()
            with accepted, socket.socket() as again:
                victim.kill()
                assert accepted.recv(1) == b""
                again.bind((HOST, port))

    run(main)


def test_what_a_process_opens_in_the_step_in_which_it_died_is_closed() -> None:
    async def main(world: WallScheduler) -> None:
        victim = world.process("victim")
        made: list[socket.socket] = []

        async def dies() -> None:
            asyncio.get_running_loop().kill()  # type: ignore[attr-defined]  # it is a ProcessLoop
            made.append(socket.socket())
            await asyncio.open_connection(HOST, 1)

        victim.spawn(dies())
        await sleep_us(1000)
        assert [each.fileno() for each in made] == [-1]

    run(main)


def test_a_connection_dies_with_its_process_however_far_it_is() -> None:
    async def main(world: WallScheduler) -> None:
        with socket.socket() as listening:
            listening.bind((HOST, 0))
            listening.listen()
            listening.settimeout(0.01)
            for steps in range(10):
                victim = world.process("victim")
                address = listening.getsockname()
                victim.spawn(victim.create_connection(asyncio.Protocol, *address))
                for _ in range(steps):
                    await suspend()
                victim.kill()
                with contextlib.suppress(TimeoutError), listening.accept()[0] as accepted:
                    accepted.settimeout(1)
                    assert accepted.recv(1) == b"", f"after {steps} steps"

    run(main)


def test_a_paused_process_reads_nothing_and_loses_nothing() -> None:
    echo = Echo()

    async def main(world: WallScheduler) -> None:
        server = world.process("server")
        await call(server, echo.start())
        async with connection(echo.port) as early:
            assert await talk(early, "one") == ["one"] * 2
            server.pause()
            server.pause()
            async with connection(echo.port) as late:
                early[1].write(b"two\n")
                late[1].write(b"three\n")
                await sleep_us(20_000)
                assert echo.log == ["one"]
                server.resume()
                server.resume()
                assert [await early[0].readline() for _ in range(2)] == [b"two\n"] * 2
                assert [await late[0].readline() for _ in range(2)] == [b"three\n"] * 2
        while echo.log.count("finally") < 2:
            await sleep_us(1000)

    run(main)


def test_timers_of_a_paused_process_wait_for_it() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("p")
        ran: list[int] = []
        # Instants, not lengths: between two lines of a test a busy machine lets a millisecond pass.
        now_us = process.now_us()
        process.call_at_us(now_us + 2000, ran.append, 2)
        process.call_at_us(now_us + 1000, ran.append, 1)
        process.call_at_us(now_us + 60 * SECOND_US, ran.append, 3)
        process.pause()
        await sleep_us(3000)
        assert ran == []
        process.resume()
        await suspend()
        assert ran == [1, 2]

    run(main)


def test_a_killed_server_starts_again_on_its_port() -> None:
    echo = Echo()

    async def main(world: WallScheduler) -> None:
        started = world.root.create_future()

        async def program(_loop: ProcessLoop) -> None:
            await echo.main(started)

        server = SimProcess(world, "server", program)
        for life in range(3):
            started = world.root.create_future()
            server.kill()
            server.start()
            await started
            async with connection(echo.port) as streams:
                assert await talk(streams, f"life {life}") == [f"life {life}"] * 2
        assert server.incarnation == 3

    run(main)
    assert [word for word in echo.log if word != "finally"] == ["life 0", "life 1", "life 2"]


def test_a_process_whose_program_ends_leaves_no_connection() -> None:
    async def main(world: WallScheduler) -> None:
        async def program(loop: ProcessLoop) -> None:
            await loop.create_connection(asyncio.Protocol, *listening.getsockname())

        with socket.socket() as listening:
            listening.bind((HOST, 0))
            listening.listen()
            process = SimProcess(world, "p", program)
            process.start()
            await wait_exit(process)
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.recv(1) == b""
        assert process.loop is None

    run(main)


def test_a_process_may_crash_at_an_await_of_its_own() -> None:
    async def main(world: WallScheduler) -> list[str]:
        trace: list[str] = []

        async def program(_loop: ProcessLoop) -> None:
            try:
                await crash_here()
            finally:
                trace.append("ran")

        process = SimProcess(world, "p", program)
        process.start()
        await wait_exit(process)
        return trace

    assert run(main) == []


def test_closing_the_world_ends_every_connection_and_runs_no_code() -> None:
    echo = Echo()

    async def main() -> None:
        await call(world.process("server"), echo.start())
        outside.connect((HOST, echo.port))
        outside.send(b"hello\n")
        while not echo.log:
            await sleep_us(1000)

    with socket.socket() as outside:
        with WallScheduler() as world:
            world.run(main())
        assert outside.recv(100) == b"hello\nhello\n"
        assert outside.recv(100) == b""
        with socket.socket() as second, pytest.raises(ConnectionRefusedError):
            second.connect((HOST, echo.port))
    gc.collect()
    assert echo.log == ["hello"]


# ---- HTTP between two processes


async def answer_with_path(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app."""
    path = scope["path"].encode()
    length = (b"content-length", b"%d" % len(path))
    await receive()
    if path == b"/hang":
        await asyncio.get_running_loop().create_future()
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": path})


def test_http_works_between_processes_and_tells_a_killed_server_from_a_missing_one() -> None:
    async def main(world: WallScheduler) -> list[str]:
        server, client = world.process("server"), world.process("client")
        url = world.root.create_future()
        seen: list[str] = []

        async def serves() -> None:
            async with http_server(answer_with_path) as http:
                url.set_result(http.url)
                await asyncio.get_running_loop().create_future()

        async def asks(base_url: str) -> None:
            async with http_caller(base_url) as caller:
                for path in ("/a", "/hang", "/b"):
                    if path == "/hang":
                        client.call_after_us(20_000, server.kill)
                    try:
                        answer = await caller.send(
                            "POST", path, headers=(), body=b"x", timeout_us=10 * SECOND_US
                        )
                        seen.append(answer.body.decode())
                    except (NoAnswer, NotSent) as failure:
                        seen.append(type(failure).__name__)

        server.spawn(serves())
        await call(client, asks(await url))
        return seen

    assert run(main) == ["/a", "NoAnswer", "NotSent"]


def test_http_stops_by_itself_in_a_process() -> None:
    async def main(world: WallScheduler) -> None:
        async def serves_once() -> bytes:
            async with http_server(answer_with_path) as http, http_caller(http.url) as caller:
                answer = await caller.send(
                    "POST", "/once", headers=(), body=b"", timeout_us=10 * SECOND_US
                )
            return answer.body

        assert await call(world.process("both"), serves_once()) == b"/once"

    run(main)


# ---- errors


def test_failures_of_tasks_and_callbacks_are_collected_and_end_nothing() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("payment")

        async def fails() -> None:
            raise ZeroDivisionError("task")

        def broken(*_args: object) -> None:
            raise KeyError("callback")

        left, right = socket.socketpair()
        with left, right:
            process.spawn(fails())
            process.call_soon(broken)
            process.add_writer(left, broken)
            while len(world.errors) < 3:
                await suspend()
            process.remove_writer(left)
        kinds = {(e.process, type(e.exception)) for e in world.errors}
        assert kinds == {("payment", ZeroDivisionError), ("payment", KeyError)}
        world.errors.clear()

    run(main)


def test_what_a_dead_process_fails_at_is_nobodys_error() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("p")

        def dies() -> None:
            process.kill()
            raise ZeroDivisionError

        process.call_soon(dies)
        await sleep_us(1000)
        assert world.errors == []
        assert process.dead

    run(main)


REFUSED: dict[str, Callable[[asyncio.AbstractEventLoop], object]] = {
    "run_in_executor": lambda loop: loop.run_in_executor(None, print),
    "subprocess_exec": lambda loop: loop.subprocess_exec(asyncio.SubprocessProtocol, "true"),
    "add_signal_handler": lambda loop: loop.add_signal_handler(2, print),
    "run_until_complete": lambda loop: loop.run_until_complete(loop.create_future()),
    "stop": lambda loop: loop.stop(),
    "close": lambda loop: loop.close(),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_could_not_be_killed_with_its_process_is_refused(name: str) -> None:
    async def main(world: WallScheduler) -> None:
        world.process("p").call_soon(REFUSED[name], world.process("p"))
        await sleep_us(1000)

    with pytest.raises(RealIOError, match=rf"loop\.{name}\(\) was called in .* 'p'"):
        run(main)


def test_every_method_of_a_loop_is_there() -> None:
    public = [name for name in dir(asyncio.AbstractEventLoop) if not name.startswith("_")]
    missing = [
        name
        for name in public
        if getattr(WallLoop, name) is getattr(asyncio.AbstractEventLoop, name)
    ]
    assert missing == []


def test_everything_is_as_before_after_a_run() -> None:
    before = (socket.socket.__init__, sys.get_asyncgen_hooks())

    async def main(_world: WallScheduler) -> None:
        assert socket.socket.__init__ is not before[0]

    run(main)
    assert (socket.socket.__init__, sys.get_asyncgen_hooks()) == before


# ---- threads, generators, signals


def test_a_thread_wakes_the_process_that_waits_for_it() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("p")

        async def waits() -> str:
            loop = asyncio.get_running_loop()
            told = loop.create_future()
            thread = threading.Thread(
                target=lambda: loop.call_soon_threadsafe(told.set_result, "told")
            )
            # Something that may happen, so that waiting for a thread is no deadlock.
            timer = loop.call_later(20, print, "never")
            thread.start()
            word: str = await told
            timer.cancel()
            thread.join()
            return word

        assert await call(process, waits()) == "told"

    run(main)


def test_names_are_resolved_while_the_others_run_and_not_for_the_dead() -> None:
    async def main(world: WallScheduler) -> None:
        victim, other = world.process("victim"), world.process("other")

        async def resolves(port: int) -> Any:
            return await asyncio.get_running_loop().getaddrinfo(HOST, port, type=socket.SOCK_STREAM)

        lost = call(victim, resolves(1))
        kept = call(other, resolves(2))
        await suspend()
        victim.kill()
        assert lost.cancelled()
        assert (HOST, 2) in [each[4] for each in await kept]

    run(main)


def test_a_dropped_generator_is_closed_in_its_own_process_and_not_for_the_dead() -> None:
    closed: list[object] = []

    async def main(world: WallScheduler) -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await suspend()
                closed.append(asyncio.get_running_loop())

        kept: list[AsyncIterator[int]] = []

        async def iterates() -> None:
            kept.append(numbers())
            await anext(kept[-1])

        alive, dead = world.process("alive"), world.process("dead")
        await call(alive, iterates())
        await call(dead, iterates())
        dead.kill()
        kept.clear()
        await sleep_us(1000)
        assert closed == [alive]

    run(main)


def test_an_interrupt_ends_the_run_at_once_and_runs_no_clean_up() -> None:
    after: list[str] = []

    async def main(world: WallScheduler) -> None:
        async def waits(process: ProcessLoop) -> None:
            try:
                await process.create_future()
            finally:
                after.append("ran")

        process = world.process("p")
        process.spawn(waits(process))
        await suspend()
        # To this thread: of one to the process it may hear only when nothing is left to wait for.
        world.root.call_later(0.01, signal.raise_signal, signal.SIGINT)
        await waits(world.root)

    # Where tests run in the background of a script, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    gc.collect()
    assert after == []


def test_a_handler_of_the_interpreter_may_turn_a_signal_into_a_cancellation() -> None:
    ended: list[str] = []

    async def main(world: WallScheduler) -> None:
        task = asyncio.current_task()
        assert task is not None
        interrupted = lambda *_: world.root.call_soon_threadsafe(task.cancel)  # noqa: E731 - a handler that closes over this run
        before = signal.signal(signal.SIGINT, interrupted)
        try:
            # Nothing is ready: the signal finds the scheduler waiting.
            world.root.call_later(0.01, threading.Thread(target=interrupt_this_process).start)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(20)
            ended.append("cleaned up")
        finally:
            signal.signal(signal.SIGINT, before)

    run(main)
    assert ended == ["cleaned up"]


def interrupt_this_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


EXIT = """
import asyncio
from lab.runtime.wall_loop import WallScheduler

async def serve(reader, writer):
    try:
        await reader.read()
    finally:
        print("finally ran", flush=True)

async def start(started):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    started.set_result(server.sockets[0].getsockname()[1])
    await server.serve_forever()

async def main(world):
    started = world.root.create_future()
    process = world.process("p")
    process.spawn(start(started))
    reader, writer = await asyncio.open_connection("localhost", await started)
    writer.write(b"x")
    while len(process.live_tasks()) < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    process.kill()
    assert await reader.read() == b""
    writer.close()

with WallScheduler() as world:
    world.run(main(world), until_us=20_000_000)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_server_runs_no_code_at_exit_either(version: str) -> None:
    ended = subprocess.run(
        [lab_python(version), "-X", "dev", "-c", EXIT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_a_socket_that_is_closed_properly_is_forgotten() -> None:
    async def main(world: WallScheduler) -> None:
        process = world.process("p")
        assert isinstance(process, WallLoop)

        async def opens() -> None:
            for _ in range(100):
                with contextlib.closing(socket.socket()):
                    await suspend()

        await call(process, opens())
        assert len(process._sockets._alive) <= 1

    run(main)
