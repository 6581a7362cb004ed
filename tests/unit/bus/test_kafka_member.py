"""A member of a group without a broker: rests, batches that cannot be read, lost offsets."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka import codec
from aiokafka import errors as kafka_errors
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as PlainBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as BrokerPartition

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.member import GroupMember, Lost
from lab.bus.kafka.rest import FIRST_S, HELD_S, MOST_S, Rest
from lab.domain.errors import EnvironmentNotReady

NOWHERE: Final = KafkaSettings(bootstrap="127.0.0.1:1")
PLACE: Final = BrokerPartition("orders", 3)
_CRC_AT, _ATTRIBUTES_AT, _RECORDS_AT = 17, 21, 61
_GZIP, _LZ4 = 1, 3


def batch(*, base: int, spoil: Callable[[bytearray], None] = lambda _: None) -> bytes:
    """Two records in one gzip batch from offset `base` on; `spoil` changes it, its CRC is right."""
    builder = PlainBuilder(2, _GZIP, is_transactional=0, producer_id=-1, producer_epoch=-1,
                           base_sequence=-1, batch_size=10_000)  # fmt: skip
    for number in range(2):
        builder.append(number, timestamp=1, key=b"k", value=b"v" * 50, headers=[])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, base)
    spoil(made)
    struct.pack_into(">I", made, _CRC_AT, calc_crc32c(bytes(made[_ATTRIBUTES_AT:])))
    return bytes(made)


def cut(made: bytearray) -> None:
    made[_RECORDS_AT + 12 : _RECORDS_AT + 20] = b"\xff" * 8


def of_another_codec(made: bytearray) -> None:
    struct.pack_into(">h", made, _ATTRIBUTES_AT, _LZ4)


class Library:
    """A consumer of the library that has fetched these bytes."""

    def __init__(self, fetched: bytes) -> None:
        records = PartitionRecords(
            PLACE, MemoryRecords(fetched), [], 10, None, None, check_crcs=True, isolation_level=1
        )
        self._fetcher = SimpleNamespace(
            _records={PLACE: SimpleNamespace(_partition_records=records)}
        )
        self._records = records

    async def getmany(self, *_: Any, **__: Any) -> dict[BrokerPartition, list[Any]]:
        return {PLACE: list(self._records)}


def read(fetched: bytes) -> Sequence[Any]:
    async def main() -> Sequence[Any]:
        member = GroupMember(NOWHERE, "payment", "p")
        await member._client.stop()
        member._client = Library(fetched)
        return await member.fetched(100)

    return asyncio.run(main())


def test_a_batch_that_is_whole_is_read() -> None:
    assert [record.offset for record in read(batch(base=10))] == [10, 11]


@pytest.mark.parametrize(
    ("spoil", "why", "remedy"),
    [
        (cut, "its batch is damaged", "--to-offset 13"),
        (of_another_codec, "its codec is missing here", "install cramjam"),
    ],
)
def test_a_batch_that_cannot_be_read_ends_the_process_and_names_the_offset(
    spoil: Callable[[bytearray], None], why: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "has_lz4", lambda: False)
    with pytest.raises(EnvironmentNotReady) as told:
        read(batch(base=10) + batch(base=12, spoil=spoil))

    assert "the record at offset 12 of topic orders, partition 3 cannot be read" in str(told.value)
    assert why in told.value.what
    assert remedy in told.value.remedy


def test_a_wrong_checksum_is_damage_too() -> None:
    spoiled = bytearray(batch(base=10))
    spoiled[-1] ^= 1
    with pytest.raises(EnvironmentNotReady, match=r"offset 10 .* damaged .*CRC"):
        read(bytes(spoiled))


def test_an_error_of_the_broker_passes_as_it_is() -> None:
    library = Library(b"")

    async def refused(*_: Any, **__: Any) -> Any:
        raise kafka_errors.TopicAuthorizationFailedError("orders")

    library.getmany = refused  # type: ignore[method-assign]  # in this test only

    async def main() -> None:
        member = GroupMember(NOWHERE, "payment", "p")
        await member._client.stop()
        member._client = library
        await member.fetched(100)

    with pytest.raises(kafka_errors.TopicAuthorizationFailedError):
        asyncio.run(main())


class Log:
    """A consumer of the library, over a log from 8 to before 12."""

    def __init__(self, committed: int) -> None:
        self.sought: list[int] = []
        self._coordinator = self
        self._committed = committed

    async def end_offsets(self, places: Sequence[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, 12)

    async def beginning_offsets(self, places: Sequence[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, 8)

    async def fetch_committed_offsets(self, places: Sequence[Any]) -> dict[Any, Any]:
        return dict.fromkeys(places, OffsetAndMetadata(self._committed, ""))

    def seek(self, _place: object, offset: int) -> None:
        self.sought.append(offset)


@pytest.mark.parametrize(
    ("committed", "at_the_end", "sought", "lost"),
    [
        (-1, False, [8], []),
        (-1, True, [12], []),
        (3, True, [8], [Lost(PLACE, 3, 8)]),
        (7, False, [8], [Lost(PLACE, 7, 8)]),
        (8, False, [], []),
        (12, True, [], []),
        (13, False, [8], [Lost(PLACE, 13, 8)]),
    ],
)
def test_a_group_starts_where_it_has_committed_or_hears_what_is_lost(
    committed: int, *, at_the_end: bool, sought: list[int], lost: list[Lost]
) -> None:
    log = Log(committed)

    async def main() -> Any:
        member = GroupMember(NOWHERE, "payment", "p")
        await member._client.stop()
        member._client = log
        return await member.starts([PLACE], at_the_end=at_the_end)

    assert asyncio.run(main()) == ({PLACE: 12}, lost)
    assert log.sought == sought


def test_each_rest_is_twice_the_last_one_up_to_a_bound() -> None:
    rest, lengths, now_s = Rest(), [], 0.0
    for _ in range(8):
        rest.began(now_s)
        rest.broke(now_s + 1)
        lengths.append(rest.until_s - now_s - 1)
        now_s = rest.until_s

    assert lengths == [0.5, 1, 2, 4, 8, MOST_S, MOST_S, MOST_S]


def test_a_member_that_held_begins_anew() -> None:
    rest = Rest()
    for began_s, broke_s in ((0.0, 1.0), (2.0, 3.0), (10.0, 10.0 + HELD_S)):
        rest.began(began_s)
        rest.broke(broke_s)

    assert rest.until_s == 10.0 + HELD_S + FIRST_S
