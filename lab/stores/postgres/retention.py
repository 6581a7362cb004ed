"""Old rows on PostgreSQL: found by indexes over their age, deleted a few at a time.

Each table is a transaction of its own, and rows that somebody else has locked are left for the next
time: a commit never waits for this. Not here: when, and how old (`lab.wiring.process.retention`).
"""

from collections.abc import Mapping
from typing import Final

from lab.ports.retention import Ages, RetentionStore
from lab.stores.postgres.link import Links

_SKEW_US: Final = 3_600_000_000
"""Events carry the time of the process that made them, and its clock may be ahead."""

# Of an event that is owed the relay may have published a copy: who is done with it must know.
_OWED_SINCE: Final = (
    f"coalesce((select min(time_us) from outbox where published_us is null) - {_SKEW_US}, now_us())"  # noqa: S608 - of constants only
)

_OLD: Final[Mapping[str, tuple[str, str]]] = {
    "outbox": ("outbox", "published_us < now_us() - $1"),
    "inbox": ("outcomes", f"not is_dead and at_us < least(now_us() - $1, {_OWED_SINCE})"),
    "http_keys": ("http_keys", "at_us < now_us() - $1"),
    "order_versions": ("order_versions", "at_us < now_us() - $1"),
    "facts": ("facts", "at_us < now_us() - $1"),
}
"""By the name that is told: the table, and which of its rows are older than $1 microseconds."""


class PostgresRetention(RetentionStore):
    """One process's way to the old rows.

    Args:
        links: connections that are shared with the order store.
    """

    def __init__(self, links: Links) -> None:
        self._links = links

    async def cut(self, ages: Ages, *, limit: int) -> Mapping[str, int]:
        found = {}
        for name, age_us in _ages_of(ages).items():
            table, is_old = _OLD[name]
            sql = (
                f"with gone as (delete from {table} where ctid = any (array("  # noqa: S608 - of constants only
                f"select ctid from {table} where {is_old} limit $2 for update skip locked"
                ")) returning 1) select count(*) from gone"
            )
            found[name] = int((await self._links.change(sql, age_us, limit))[0][0])
        return found

    async def count_old(self, ages: Ages) -> Mapping[str, int]:
        found = {}
        for name, age_us in _ages_of(ages).items():
            table, is_old = _OLD[name]
            sql = f"select count(*) from {table} where {is_old}"  # noqa: S608 - of constants only
            found[name] = int((await self._links.read(sql, age_us))[0][0])
        return found


def _ages_of(ages: Ages) -> Mapping[str, int]:
    """The age of each table that is not kept for ever."""
    given = {
        "outbox": ages.outbox,
        "inbox": ages.inbox,
        "http_keys": ages.http_keys,
        "order_versions": ages.versions,
        "facts": ages.versions,
    }
    return {name: age_us for name, age_us in given.items() if age_us}
