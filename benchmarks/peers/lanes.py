"""The lines that give a batch the order of its keys and all the concurrency beside it."""

import asyncio
from collections.abc import Iterable, Sequence

from benchmarks.peers.workload import Work, key_of


async def in_turn(work: Work, values: Iterable[bytes]) -> None:
    """Handle one after the other."""
    for value in values:
        await work.handle(value)


async def by_key(work: Work, batch: Sequence[bytes]) -> None:
    """Handle a batch: the records of a key in turn, the keys at once.

    Returns when all are handled, so a batch takes as long as its slowest key.
    """
    lanes: dict[bytes, list[bytes]] = {}
    for value in batch:
        lanes.setdefault(key_of(value), []).append(value)
    await asyncio.gather(*(in_turn(work, values) for values in lanes.values()))
