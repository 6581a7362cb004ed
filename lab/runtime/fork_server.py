"""A process that has imported everything, and becomes each process of a run by forking.

An interpreter that imports all that a process of the lab needs works for a second; eight of them
side by side keep two cores busy for four. Here one does it, and every other is a fork of it, with a
session, streams and memory of its own: a SIGKILL ends it and nobody else.

The rule: a process number means one process until its end was heard. Who has ended is not reaped
before that, so no signal meets a stranger. Linux only: elsewhere the libraries of the system do
not survive a fork. Not here: what a fork becomes (`lab.wiring.worlds.real_start`).
"""

import asyncio
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Final

import msgspec

from lab.runtime.errors import SimulationError
from lab.runtime.uninterrupted import uninterrupted

IS_SUPPORTED: Final = sys.platform == "linux"

_PROGRAM: Final = "import sys; from lab.runtime.fork_server import main; sys.exit(main())"
_MESSAGE_MAX: Final = 8_192
_STREAMS: Final = 3
_UNANSWERED_MAX: Final = 32
"""Questions that are under way at once: the socket takes no end of them."""

_ANSWER_S: Final = 60
"""It may still import; a busy machine takes its time."""

_WOKEN_MAX: Final = 4_096


class _Asked(msgspec.Struct):
    """Fork and become `word`; without one: the end of that fork was heard."""

    number: int
    word: str = ""


class _Told(msgspec.Struct):
    """The process number of a fork; with a code: it has ended, as `subprocess` would say it."""

    number: int
    pid: int
    code: int | None = None


_encode: Final = msgspec.json.Encoder().encode
_asked: Final = msgspec.json.Decoder(_Asked).decode
_told: Final = msgspec.json.Decoder(_Told).decode


class Forked:
    """A fork, as `asyncio.subprocess.Process` would show it.

    Attributes:
        stdout: its standard output.
        begun: its process number, once it has one.
        returncode: None while nobody has heard of its end; of one that a signal has ended negative.
    """

    def __init__(self, stdout: asyncio.StreamReader, stdin: int) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._stdin = stdin
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[int] = loop.create_future()
        self._ended: asyncio.Future[int] = loop.create_future()

    async def answered(self) -> "Forked":
        """Itself, once it has a process number.

        Raises:
            SimulationError: the fork server is gone.
        """
        await asyncio.shield(self.begun)
        return self

    async def wait(self) -> int:
        """Wait until it has ended; its exit code.

        Raises:
            SimulationError: nobody will ever know: the fork server is gone.
        """
        return await asyncio.shield(self._ended)

    def send_signal(self, number: int) -> None:
        """Signal it, unless its end was heard."""
        if self.returncode is None:
            os.kill(self.begun.result(), number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def end(self, code: int) -> None:
        """Its end was heard."""
        self.returncode = code
        self._ended.set_result(code)
        self._hang_up()

    def lose(self, error: SimulationError) -> None:
        """Nobody knows of it any more. It reads the end of its input, and ends itself."""
        for future in (self.begun, self._ended):
            if not future.done():
                future.set_exception(error)
                future.exception()  # Whoever waits hears of it; nobody need.
        self._hang_up()

    def _hang_up(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1


class ForkServer(AbstractAsyncContextManager["ForkServer"]):
    """The process that forks, from this side. It begins to import when it is made.

    Its forks are to end within the block, or lose it: they read the end of their input.

    Args:
        become: `module:function` with `function(word) -> exit code`: what each fork does.
        stderr: where it complains; each fork is given its own.
        pass_fds: open files that every fork inherits.
        preload: modules beside that of `become`, such as those that others import on first use.
    """

    def __init__(
        self,
        become: str,
        *,
        stderr: int,
        pass_fds: Sequence[int] = (),
        preload: Sequence[str] = (),
    ) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), become, *preload],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs.fileno(), *pass_fds),
                # Ctrl-C is for the supervisor, who ends them all in order.
                start_new_session=True,
            )
        self._control.settimeout(0)
        self._forks: dict[int, Forked] = {}
        self._count = 0
        self._pipes: list[asyncio.ReadTransport] = []
        self._unanswered = asyncio.Semaphore(_UNANSWERED_MAX)
        self._is_gone: bool | None = None
        """None: nobody listens yet."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lose(None)
        self._control.close()
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes:
            pipe.close()
        await asyncio.sleep(0)

    async def start(self, word: str, *, stderr: int) -> Forked:
        """A fork that becomes `word`.

        Raises:
            SimulationError: the fork server is gone.
        """
        async with self._unanswered:
            if self._is_gone is None:
                self._is_gone = False
                asyncio.get_running_loop().add_reader(self._control.fileno(), self._heard)
            fork, is_cut = await uninterrupted(self._fork(word, stderr))
            if is_cut:
                # Whoever asked for it is gone: nobody would ever end it.
                await uninterrupted(_ended(fork))
                raise asyncio.CancelledError
            return fork

    async def _fork(self, word: str, stderr: int) -> Forked:
        """Ask for a fork, and wait for the answer; a server that stands still is given up."""
        stdin, our_stdin = os.pipe()
        our_stdout, stdout = os.pipe()
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(our_stdout, "rb", 0)
        )
        self._pipes = [one for one in self._pipes if not one.is_closing()]
        self._pipes.append(pipe)
        self._count += 1
        fork = self._forks[self._count] = Forked(reader, our_stdin)
        try:
            socket.send_fds(
                self._control, [_encode(_Asked(self._count, word))], [stdin, stdout, stderr]
            )
        except OSError as error:
            self._lose(error)
        finally:
            os.close(stdin)
            os.close(stdout)
        await asyncio.wait([fork.begun], timeout=_ANSWER_S)
        if not fork.begun.done():
            self._lose(TimeoutError(f"it said nothing for {_ANSWER_S} s"))
        return await fork.answered()

    def _heard(self) -> None:
        try:
            message = self._control.recv(_MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if not message:
            self._lose(None)
            return
        told = _told(message)
        if told.code is None:
            self._forks[told.number].begun.set_result(told.pid)
            return
        self._forks.pop(told.number).end(told.code)
        with suppress(OSError):
            self._control.send(_encode(_Asked(told.number)))

    def _lose(self, cause: Exception | None) -> None:
        if self._is_gone is False:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._is_gone = True
        error = SimulationError("the process that forks the others has ended")
        error.__cause__ = cause
        for fork in self._forks.values():
            fork.lose(error)
        self._forks.clear()


async def _ended(fork: Forked) -> None:
    """End a fork at once."""
    fork.kill()
    with suppress(SimulationError):
        await fork.wait()


# ---- the other side


def main() -> int:
    """Be the fork server, and later one of its forks; the exit code."""
    module, _, function = sys.argv[2].partition(":")
    become = getattr(importlib.import_module(module), function)
    for other in sys.argv[3:]:
        importlib.import_module(other)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        word = _fork_on_demand(control)
    return 0 if word is None else int(become(word))


def _fork_on_demand(control: socket.socket) -> str | None:
    """Fork whenever it is asked for; the word of a fork in the fork, None once nobody asks."""
    # Once a fork touches an object its page is copied: what is there now is not gone through.
    gc.collect()
    gc.freeze()
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: dict[int, int] = {}
    ended: dict[int, int] = {}
    with suppress(ConnectionError):
        while True:
            ready, _, _ = select.select([control.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, _WOKEN_MAX)
            if control.fileno() in ready:
                message, streams, *_ = socket.recv_fds(control, _MESSAGE_MAX, _STREAMS)
                if not message:
                    return None
                asked = _asked(message)
                if not asked.word:
                    os.waitpid(ended.pop(asked.number), 0)
                elif pid := os.fork():
                    for stream in streams:
                        os.close(stream)
                    living[asked.number] = pid
                    control.send(_encode(_Told(asked.number, pid)))
                else:
                    _be_born(streams, (woken, wakes))
                    return asked.word
            for number, code in _ends(living).items():
                ended[number] = pid = living.pop(number)
                control.send(_encode(_Told(number, pid, code)))
    return None


def _ends(living: Mapping[int, int]) -> dict[int, int]:
    """The exit code of each that has ended; it stays a zombie."""
    found = {}
    for number, pid in living.items():
        told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if told is not None:
            by_itself = told.si_code == os.CLD_EXITED
            found[number] = told.si_status if by_itself else -told.si_status
    return found


def _be_born(streams: list[int], others: tuple[int, ...]) -> None:
    """Take the session, the signals and the streams of a process that has just been started."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    for handle in (*streams, *others):
        os.close(handle)
