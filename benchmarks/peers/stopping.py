"""SIGTERM for the consumers that are written by hand: their loop asks, and ends when it likes."""

import asyncio
import signal
from threading import Event


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM; to be called inside the running loop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    return stopped


def stop_signal_blocking() -> Event:
    """The same for a process without an event loop."""
    stopped = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    return stopped
