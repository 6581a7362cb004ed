"""Old rows in memory: cut by age as on a real server, before the server forgets them by itself.

Not here: the tables, and what they know of age (`store`, `outcomes`).
"""

from collections.abc import Mapping

from lab.ports.retention import Ages, RetentionStore
from lab.stores.memory.base import Crossing, crosses
from lab.stores.memory.outage import Line
from lab.stores.memory.store import MemoryStoreServer


class MemoryRetention(RetentionStore):
    """One process's way to the old rows. Published events and versions are not kept here anyway."""

    def __init__(self, server: MemoryStoreServer) -> None:
        self._server = server
        self._line = Line(server.outage)

    @crosses
    def cut(self, ages: Ages, *, limit: int) -> Crossing[Mapping[str, int]]:
        yield
        if self._server.outage.is_on:
            self._line.refuse()
        done, keys = self._server.old(ages)
        self._server.outcomes.cut(done[:limit])
        self._server.http_keys.cut(keys[:limit])
        return {"inbox": len(done[:limit]), "http_keys": len(keys[:limit])}

    @crosses
    def count_old(self, ages: Ages) -> Crossing[Mapping[str, int]]:
        yield
        if self._server.outage.is_on:
            self._line.refuse()
        done, keys = self._server.old(ages)
        return {"inbox": len(done), "http_keys": len(keys)}
