"""The facts of a run that is over, read back from a real Kafka.

Records are read from their topics. Commits are read from the broker's own notes, where each stands
in the order in which it was accepted, with the epoch that the consumer wrote beside it: a position
alone does not name its member. Not here: judging either (`lab.checks`), and the records that are
still owed (`KafkaTopics.lag`).

Source: Apache Kafka, `OffsetCommitKey.json` and `OffsetCommitValue.json`, versions 0 to 4.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from lab.bus.facts import appended_fact, letter_fact
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import Transient
from lab.history.entries import Entry
from lab.history.journal import merged
from lab.ports.bus import TopicPartition

_WITNESS: Final = "bus"
_KEY_VERSIONS: Final = (0, 1)
_COMPACT_SINCE: Final = 4
_LEADER_SINCE: Final = 3


class NotedCommit(NamedTuple):
    """One commit as the broker has noted it; names are those on the broker."""

    t_us: int
    group: str
    topic: str
    partition: int
    offset: int
    note: str


async def appended(topics: KafkaTopics, names: Iterable[str], *, epoch_us: int) -> list[Entry]:
    """Every record of these topics, as `appended` facts; those of a partition in its order.

    A `letter` fact follows each dead letter.

    Args:
        topics: of the run, open.
        names: the topics, without the run's prefix.
        epoch_us: wall clock at which the history's clock showed 0.

    Raises:
        Transient: the broker was not reached, or there is no such topic.
    """
    by_place: dict[tuple[str, int], list[Entry]] = {}
    for record in await topics.read(*names):
        t_us = record.timestamp_us - epoch_us
        facts = by_place.setdefault((record.topic, record.partition), [])
        facts.append(appended_fact(record, t_us))
        letter = letter_fact(record, t_us)
        if letter is not None:
            facts.append(letter)
    return list(merged(list(by_place.values())))


async def committed(
    topics: KafkaTopics,
    settings: KafkaSettings,
    groups: Iterable[str],
    *,
    since_us: int,
    epoch_us: int,
    wall_us: Callable[[], int],
) -> list[Entry]:
    """Every accepted commit of these groups, as `committed` facts; those of a group in its order.

    A broker that does not show its notes, or has tidied them up, still says where the groups stand:
    then that is a fact as of now, with the last epoch that is known, 0 if none is.

    Args:
        topics: of the run, open.
        settings: of the run; its prefix marks the commits of this run.
        groups: without the run's prefix.
        since_us: wall clock before the run's first commit.
        epoch_us: as in `appended`.
        wall_us: the wall clock.

    Raises:
        Transient: the broker was not reached.
    """
    sources = []
    for group in groups:
        try:
            notes = await topics.read_commits(group, since_us=since_us)
        except Transient:
            notes = []
        facts = _facts(noted(notes), settings, group, epoch_us)
        standing = await topics.committed(group)
        sources.append([*facts, *_last(facts, group, standing, wall_us() - epoch_us)])
    return list(merged(sources))


def noted(records: Iterable[tuple[int, bytes, bytes | None]]) -> list[NotedCommit]:
    """The commits among the broker's notes; all other notes are passed over."""
    found = []
    for t_us, key, value in records:
        if value is None or len(key) < 2 or _short(key, 0) not in _KEY_VERSIONS:
            continue
        group, at = _text(key, 2)
        topic, at = _text(key, at)
        (partition,) = struct.unpack_from(">i", key, at)
        offset, note = _position(value)
        found.append(NotedCommit(t_us, group, topic, partition, offset, note))
    return found


def _facts(
    commits: Sequence[NotedCommit], settings: KafkaSettings, group: str, epoch_us: int
) -> list[Entry]:
    stem = settings.stem
    return [
        _fact(
            commit.t_us - epoch_us,
            group,
            TopicPartition(commit.topic.removeprefix(stem), commit.partition),
            commit.offset,
            int(commit.note) if commit.note.isdecimal() else 0,
        )
        for commit in commits
        if commit.group == settings.topic(group) and commit.topic.startswith(stem)
    ]


def _last(
    facts: Sequence[Entry], group: str, standing: dict[TopicPartition, int], t_us: int
) -> list[Entry]:
    """Where the group stands, for each partition in which the facts do not end there."""
    known: dict[object, Entry] = {fact[5:7]: fact for fact in facts}
    missing = []
    for place, offset in standing.items():
        fact = known.get(tuple(place))
        if fact is None or fact[7] != offset:
            epoch = fact[8] if fact is not None else 0
            assert isinstance(epoch, int)
            missing.append(_fact(t_us, group, place, offset, epoch))
    return missing


def _fact(t_us: int, group: str, place: TopicPartition, offset: int, epoch: int) -> Entry:
    return ("committed", t_us, _WITNESS, "", group, *place, offset, epoch, True)


# ---- the broker's notes, byte by byte


def _position(value: bytes) -> tuple[int, str]:
    version = _short(value, 0)
    (offset,) = struct.unpack_from(">q", value, 2)
    at = 14 if version >= _LEADER_SINCE else 10
    if version < _COMPACT_SINCE:
        return offset, _text(value, at)[0]
    length, at = _unsigned(value, at)
    return offset, value[at : at + length - 1].decode("utf-8", "replace")


def _short(data: bytes, at: int) -> int:
    number: int = struct.unpack_from(">h", data, at)[0]
    return number


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A string behind its length, and where it ends."""
    end = at + 2 + _short(data, at)
    return data[at + 2 : end].decode("utf-8", "replace"), end


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if not byte & 0x80:
            return number, at
