"""The work that every consumer gets: what the records say, and the handler that all of them call.

A handler waits as long as its record says and then writes one line into the journal, a file that
outlives the consumer. Nothing of a peer is imported here, and nothing of the lab.

Not here: the consumers (`*_peer.py`), reading the journal (`judge.py`).
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

VALUE_BYTES: Final = 288
_RECORD_BYTES: Final = 320
"""A record with its key and what the log adds, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The records of a topic: of each key numbers from 0, the keys in turn.

    Attributes:
        records: how many there are.
        keys: under how many keys.
        handler_us: how long the handler of each takes.
        slow_us: how long it takes for those in the middle, if a third of the keys has one; 0: none.
    """

    records: int
    keys: int
    handler_us: int
    slow_us: int = 0

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every record, in the order in which they are published."""
        middle = self.records // self.keys // 2
        for place in range(self.records):
            number, key = divmod(place, self.keys)
            is_slow = self.slow_us and number == middle and key % 3 == 0
            took_us = self.slow_us if is_slow else self.handler_us
            kind = b"slow" if is_slow else b"quick"
            text = b"%d %d %d %s " % (key, number, took_us, kind)
            yield b"key-%d" % key, text.ljust(VALUE_BYTES, b".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a consumer is told, as the only argument of its process.

    Attributes:
        setting: which of its peer's settings it runs.
        bootstrap: the broker.
        prefix: of the topic and the group on the broker, before a dot.
        topic, group: without the prefix.
        journal: the file of `Work`.
        concurrency: handlers that may run at once, where the setting is concurrent.
        batch: records of a partition that are fetched at once, where the setting says so, and
            handled before a commit.
        partitions: of the topic.
        commit_ms: longest time until a commit, where the setting commits by the clock.
        session_ms: a silent member is expelled after this.
    """

    setting: str
    bootstrap: str
    prefix: str
    topic: str
    group: str
    journal: str
    concurrency: int
    batch: int
    partitions: int
    commit_ms: int
    session_ms: int

    @property
    def topic_there(self) -> str:
        """The topic's name on the broker."""
        return f"{self.prefix}.{self.topic}"

    @property
    def group_there(self) -> str:
        """The group's name on the broker."""
        return f"{self.prefix}.{self.group}"

    @property
    def heartbeat_ms(self) -> int:
        """A third of the session, as Kafka's documentation advises."""
        return self.session_ms // 3

    @property
    def fetch_bytes(self) -> int:
        """So many of a partition hold a batch of it."""
        return self.batch * _RECORD_BYTES

    def text(self) -> str:
        """As an argument of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def of_this_process(cls) -> Self:
        """The one that this process was started with."""
        return cls(**json.loads(sys.argv[1]))


def key_of(value: bytes) -> bytes:
    """The key of a record, which stands in its value too: some peers hand out nothing else."""
    return value[: value.index(b" ")]


class Work:
    """The handler.

    A line is one write to a file that is open for appending: what was written before a SIGKILL
    stays. Times are those of the machine's monotonic clock, the same in every process.

    Args:
        journal: where the lines go; made if it is missing.
    """

    def __init__(self, journal: str) -> None:
        self._file = os.open(Path(journal), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def handle(self, value: bytes) -> None:
        """Wait as long as the record says, and write down that it was handled."""
        key, number, wait_us, start_ns = self._begin(value)
        await asyncio.sleep(wait_us / 1e6)
        self._end(key, number, start_ns)

    def handle_blocking(self, value: bytes) -> None:
        """The same for a consumer without an event loop."""
        key, number, wait_us, start_ns = self._begin(value)
        time.sleep(wait_us / 1e6)
        self._end(key, number, start_ns)

    def _begin(self, value: bytes) -> tuple[bytes, bytes, int, int]:
        key, number, wait_us, kind, _ = value.split(b" ", 4)
        start_ns = time.monotonic_ns()
        if kind == b"slow":
            # Whoever is to kill the consumer in the middle of one must see it begin.
            os.write(self._file, b"slow %s %s %d\n" % (key, number, start_ns))
        return key, number, int(wait_us), start_ns

    def _end(self, key: bytes, number: bytes, start_ns: int) -> None:
        os.write(self._file, b"done %s %s %d %d\n" % (key, number, start_ns, time.monotonic_ns()))
