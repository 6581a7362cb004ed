"""Keeps the real world out of the simulated one: real I/O, threads and wall time raise, by name.

Not here: calls that cannot be caught. `datetime.now()` and names bound before the run
(`from time import time`) pass unseen; the linter and the determinism test are there for those.
"""

import asyncio
import functools
import inspect
import socket
import subprocess
import threading
import time
from asyncio.events import _get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

from lab.runtime.errors import RealIOError

_P = ParamSpec("_P")
_R = TypeVar("_R")

_CLOCK: Final = "take the process's clock (lab.ports.clock)"
_PORT: Final = "go through a port; the simulated world has a memory adapter for it"
_NO_THREADS: Final = "there are no threads; run it in this process, or before the run"
_SCHEDULER: Final = "the scheduler runs every process: take Scheduler.run()"
_KILL: Final = "a simulated process is told by its supervisor (lab.runtime.processes)"


def _refused(name: str, instead: str) -> Any:
    """A loop method that raises, with any arguments."""

    def refuse(self: "RunByScheduler", *_args: object, **_kwargs: object) -> NoReturn:
        raise self.refuse(f"loop.{name}()", instead)

    return refuse


class RunByScheduler(asyncio.AbstractEventLoop):
    """An event loop that a scheduler runs: a call that would run, end or signal it raises.

    So does a call whose effect would outlive a kill: another process, and a pipe to one.
    """

    def refuse(self, call: str, instead: str) -> RealIOError:
        """Make the error for `call`, and have the run end with it."""
        raise NotImplementedError

    run_forever = _refused("run_forever", _SCHEDULER)
    run_until_complete = _refused("run_until_complete", _SCHEDULER)
    stop = _refused("stop", _SCHEDULER)
    close = _refused("close", _SCHEDULER)
    set_task_factory = _refused("set_task_factory", "tasks are numbered by the scheduler")
    set_exception_handler = _refused("set_exception_handler", "read Scheduler.errors")
    set_default_executor = _refused("set_default_executor", _NO_THREADS)
    add_signal_handler = _refused("add_signal_handler", _KILL)
    remove_signal_handler = _refused("remove_signal_handler", _KILL)
    connect_read_pipe = _refused("connect_read_pipe", _PORT)
    connect_write_pipe = _refused("connect_write_pipe", _PORT)
    subprocess_shell = _refused("subprocess_shell", _PORT)
    subprocess_exec = _refused("subprocess_exec", _PORT)


class NoRealIO(RunByScheduler):
    """An event loop without selector and threads: a call that would need one raises."""

    harness: bool
    """True for the process of the harness, which may measure, log and write files."""

    call_soon_threadsafe = _refused("call_soon_threadsafe", _NO_THREADS)
    run_in_executor = _refused("run_in_executor", _NO_THREADS)
    getaddrinfo = _refused("getaddrinfo", _PORT)
    getnameinfo = _refused("getnameinfo", _PORT)
    create_connection = _refused("create_connection", _PORT)
    create_server = _refused("create_server", _PORT)
    create_unix_connection = _refused("create_unix_connection", _PORT)
    create_unix_server = _refused("create_unix_server", _PORT)
    create_datagram_endpoint = _refused("create_datagram_endpoint", _PORT)
    connect_accepted_socket = _refused("connect_accepted_socket", _PORT)
    start_tls = _refused("start_tls", _PORT)
    sendfile = _refused("sendfile", _PORT)
    add_reader = _refused("add_reader", _PORT)
    remove_reader = _refused("remove_reader", _PORT)
    add_writer = _refused("add_writer", _PORT)
    remove_writer = _refused("remove_writer", _PORT)
    sock_recv = _refused("sock_recv", _PORT)
    sock_recv_into = _refused("sock_recv_into", _PORT)
    sock_recvfrom = _refused("sock_recvfrom", _PORT)
    sock_recvfrom_into = _refused("sock_recvfrom_into", _PORT)
    sock_sendall = _refused("sock_sendall", _PORT)
    sock_sendto = _refused("sock_sendto", _PORT)
    sock_sendfile = _refused("sock_sendfile", _PORT)
    sock_connect = _refused("sock_connect", _PORT)
    sock_accept = _refused("sock_accept", _PORT)


_GUARDED: Final[tuple[tuple[object, str, str, str], ...]] = (
    (time, "sleep", "time.sleep()", _CLOCK),
    (time, "time", "time.time()", _CLOCK),
    (time, "time_ns", "time.time_ns()", _CLOCK),
    (threading.Thread, "start", "threading.Thread.start()", _NO_THREADS),
    (socket.socket, "connect", "socket.connect()", _PORT),
    (socket.socket, "connect_ex", "socket.connect_ex()", _PORT),
    (socket.socket, "bind", "socket.bind()", _PORT),
    (socket, "getaddrinfo", "socket.getaddrinfo()", _PORT),
    (subprocess.Popen, "__init__", "subprocess.Popen()", _PORT),
)


@contextmanager
def real_io_guarded() -> Iterator[None]:
    """Within the block the calls above raise RealIOError in a step of a simulated process.

    Anybody else calls them as ever: the harness process, other threads, and the `logging` module,
    whose time stamps reach no behaviour. `time.monotonic` and `time.perf_counter` are left alone.
    Inside a guarded block of another thread this one adds nothing.
    """
    undo: list[Callable[[], None]] = []
    try:
        for owner, name, call, instead in _GUARDED:
            original = getattr(owner, name)
            if not hasattr(original, "guards"):
                undo.append(_restorer(owner, name))
                setattr(owner, name, _guard(original, call, instead))
        yield
    finally:
        for restore in undo:
            restore()


def _restorer(owner: object, name: str) -> Callable[[], None]:
    """A call that puts `owner.name` back; an inherited attribute is uncovered, not copied down."""
    own = vars(owner)
    if name in own:
        return functools.partial(setattr, owner, name, own[name])
    return functools.partial(delattr, owner, name)


@functools.lru_cache(maxsize=2 * len(_GUARDED))
def _guard(original: Callable[_P, _R], call: str, instead: str) -> Callable[_P, _R]:
    """`original`, refused to simulated processes."""

    @functools.wraps(original)
    def guard(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        # The running loop belongs to this thread and this step, so nobody else is ever hit.
        loop = _get_running_loop()
        if isinstance(loop, NoRealIO) and not loop.harness and not _called_by_logging():
            raise loop.refuse(call, instead)
        return original(*args, **kwargs)

    guard.guards = original  # type: ignore[attr-defined]  # says that the patch is in place
    return guard


def _called_by_logging() -> bool:
    """Whether the frame that called the guard belongs to the standard `logging` package."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    module = frame.f_globals.get("__name__", "") if frame is not None else ""
    return str(module).partition(".")[0] == "logging"
