"""Keys in retry on PostgreSQL: every call is one function of the schema, one transaction.

Nearly every record of a main topic belongs to a key that is free, so that is asked for many keys at
once. Not here: the rules (`sql/0003_keys_in_retry.sql`), and the handling of a head.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lab.domain.envelope import H_SUBJECT, text_header
from lab.domain.errors import Down
from lab.ports.bus import Record
from lab.ports.key_retry import Arrival, KeyRetryStore, WaitingRow
from lab.stores.group_commit import Batcher
from lab.stores.postgres.errors import DEPENDENCY
from lab.stores.postgres.link import Links, Row
from lab.stores.postgres.units import storable

_Failures = tuple[tuple[int, str, str], ...]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_record: Final = msgspec.msgpack.Decoder(
    tuple[str, int, int, bytes, bytes, tuple[tuple[str, bytes], ...], int]
).decode
_decode_failures: Final = msgspec.msgpack.Decoder(_Failures).decode

_ROW: Final = (
    "group_name, key, event_id, arrival, record, attempts, not_before_us, redrives, is_dead, "
    "first_failure_us, failures"
)
_LOCKED: Final = (
    "select l.group_name, l.key from unnest($1::text[], $2::text[]) as w(group_name, key) "
    "join key_locks l on l.group_name = w.group_name and l.key = w.key"
)
_ARRIVE: Final = (
    f"select a.said, {', '.join(f'(a.head).{name}' for name in _ROW.split(', '))} "  # noqa: S608 - of constants only
    "from key_arrive($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as a"
)
_PARK: Final = f"select {_ROW} from key_park($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"  # noqa: S608 - of constants only
_HEAD: Final = (
    f"select now_us() as now_us, head.* from (select 1) as one "  # noqa: S608 - of constants only
    f"left join (select {_ROW} from head_of($1, $2)) as head on true"
)
_RESCHEDULE: Final = "select key_reschedule($1, $2, $3, $4, $5, $6, $7, $8)"
_FINISH: Final = f"select {_ROW} from key_finish($1, $2, $3)"  # noqa: S608 - of constants only
_BURY: Final = "select key_bury($1, $2, $3, $4)"
_REVIVE: Final = "select key_revive($1, $2, $3, $4, $5)"
_DISCARD: Final = "select key_discard($1, $2, $3, $4)"

_LOOKS_MAX: Final = 500


class PostgresKeyRetry(KeyRetryStore):
    """One process's way to the keys in retry.

    Args:
        links: connections that are shared with the order store.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._locks: Batcher[tuple[str, str], bool] = Batcher(self._are_locked, size=_LOOKS_MAX)

    async def arrive(self, row: WaitingRow) -> tuple[Arrival, WaitingRow | None]:
        if not await self._locks.put((row.group, storable(row.key))):
            return Arrival.FREE, None
        ((said, *head),) = await self._links.change(_ARRIVE, *_to_arguments(row))
        return Arrival(said), (_to_row(head) if said == Arrival.HEAD else None)

    async def park(self, row: WaitingRow) -> WaitingRow | None:
        return _first(await self._links.change(_PARK, *_to_arguments(row)))

    async def head(self, group: str, key: str) -> tuple[WaitingRow | None, int]:
        ((now_us, *row),) = await self._links.read(_HEAD, group, storable(key))
        return (None if row[0] is None else _to_row(row)), now_us

    async def reschedule(self, row: WaitingRow) -> bool:
        ((is_head,),) = await self._links.change(
            _RESCHEDULE,
            row.group,
            storable(row.key),
            storable(row.event_id),
            row.attempts,
            row.not_before_us,
            row.first_failure_us,
            _encode(row.failures),
            row.redrives,
        )
        return bool(is_head)

    async def finish(self, group: str, key: str, event_id: str) -> WaitingRow | None:
        return _first(await self._links.change(_FINISH, group, *_storable(key, event_id)))

    async def bury(self, group: str, key: str, event_id: str, redrives: int) -> None:
        await self._links.change(_BURY, group, *_storable(key, event_id), redrives)

    async def revive(self, row: WaitingRow) -> bool:
        ((is_revived,),) = await self._links.change(
            _REVIVE, row.group, *_storable(row.key, row.event_id), row.redrives, _encode(())
        )
        return bool(is_revived)

    async def discard(self, row: WaitingRow) -> bool:
        ((is_discarded,),) = await self._links.change(
            _DISCARD, row.group, *_storable(row.key, row.event_id), row.redrives
        )
        return bool(is_discarded)

    async def close(self) -> None:
        """Finish the calls that run."""
        await self._locks.close(Down("the store is closed", dependency=DEPENDENCY, after_us=0))

    def abort(self) -> None:
        """End as a killed process does."""
        self._locks.abort()

    async def _are_locked(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        asked = list(dict.fromkeys(keys))
        rows = await self._links.read(
            _LOCKED, [group for group, _ in asked], [key for _, key in asked]
        )
        locked = {(row[0], row[1]) for row in rows}
        return [key in locked for key in keys]


def _to_arguments(row: WaitingRow) -> tuple[object, ...]:
    record = row.record
    subject = text_header(record.headers, H_SUBJECT)
    packed = _encode(
        (
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            record.headers,
            record.timestamp_us,
        )
    )
    return (
        row.group,
        storable(row.key),
        storable(row.event_id),
        packed,
        storable(subject),
        row.attempts,
        row.not_before_us,
        row.redrives,
        row.is_dead,
        row.first_failure_us,
        _encode(row.failures),
    )


def _storable(key: str, event_id: str) -> tuple[str, str]:
    return storable(key), storable(event_id)


def _first(rows: Sequence[Row]) -> WaitingRow | None:
    return _to_row(rows[0]) if rows else None


def _to_row(row: Any) -> WaitingRow:
    return WaitingRow(
        group=row[0],
        key=row[1],
        event_id=row[2],
        arrival=row[3],
        record=Record(*_decode_record(row[4])),
        attempts=row[5],
        not_before_us=row[6],
        redrives=row[7],
        is_dead=row[8],
        first_failure_us=row[9],
        failures=_decode_failures(row[10]),
    )
