"""The consumers of the comparison: each with its settings by name, and its promise.

A promise is what the peer's own documentation says of these settings; where it says nothing, that
is written. Not here: how they are run.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One consumer with one choice of settings.

    Attributes:
        name: for `--only` and in the table.
        module: program that runs it, beside this file.
        setting: which of the program's settings.
        packages: distributions that it needs beside the lab, and whose versions are told.
        settings: exact names and values, those apart that all have in common.
        promise: by its own documentation.
        link: the page that says so.
    """

    name: str
    module: str
    setting: str
    packages: tuple[str, ...]
    settings: str
    promise: str
    link: str


_FASTSTREAM: Final = "https://faststream.ag2.ai/latest/kafka/ack/"
_CONCURRENT: Final = "https://faststream.ag2.ai/latest/kafka/Subscriber/"
_ADDON: Final = "https://github.com/modern-python/faststream-concurrent-aiokafka"
_TASKIQ: Final = "https://taskiq-python.github.io/guide/cli.html"
_AIOKAFKA: Final = "https://aiokafka.readthedocs.io/en/stable/consumer.html"
_CONFLUENT: Final = "https://docs.confluent.io/kafka-clients/python/current/overview.html"

LAB: Final = "lab"

PEERS: Final = (
    Peer(
        name=LAB,
        module="lab_peer",
        setting="",
        packages=(),
        settings="`DeliveryLoop`, `Ordering.KEY`, `commit_prefix`, `workers` N, "
        "`max_in_flight` P * B, `commit_every` B, `commit_after_us` C",
        promise="at least once; the order of a key, keys of a partition at once; what fails is "
        "tried again after a pause, and its key waits",
        link="explanation/one-delivery.md",
    ),
    Peer(
        name="faststream in turn",
        module="faststream_peer",
        setting="in-turn",
        packages=("faststream", "aiokafka"),
        settings="`AckPolicy.NACK_ON_ERROR`",
        promise="at least once; one after the other; an error is read again at once",
        link=_FASTSTREAM,
    ),
    Peer(
        name="faststream partitions",
        module="faststream_peer",
        setting="partitions",
        packages=("faststream", "aiokafka"),
        settings="`AckPolicy.NACK_ON_ERROR`, `max_workers` P",
        promise="at least once; a partition one after the other, partitions at once",
        link=_CONCURRENT,
    ),
    Peer(
        name="faststream batches",
        module="faststream_peer",
        setting="batches",
        packages=("faststream", "aiokafka"),
        settings="`batch=True`, `max_partition_fetch_bytes` for B, `AckPolicy.NACK_ON_ERROR`; the "
        "handler runs the keys of a batch at once (`by_key`)",
        promise="at least once, a batch at a time; the order within it is the handler's",
        link=_FASTSTREAM,
    ),
    Peer(
        name="faststream ack first",
        module="faststream_peer",
        setting="ack-first",
        packages=("faststream", "aiokafka"),
        settings="`AckPolicy.ACK_FIRST`, `max_workers` N, `auto_commit_interval_ms` C",
        promise="at most once; many at once; no order",
        link=_CONCURRENT,
    ),
    Peer(
        name="faststream concurrent",
        module="faststream_peer",
        setting="concurrent",
        packages=("faststream-concurrent-aiokafka", "faststream", "aiokafka"),
        settings="the add-on: `AckPolicy.MANUAL`, `concurrency_limit` N, `commit_batch_size` B, "
        "`commit_batch_timeout_sec` C",
        promise="at least once; many at once; of order nothing is said; an error is committed",
        link=_ADDON,
    ),
    Peer(
        name="taskiq",
        module="taskiq_peer",
        setting="concurrent",
        packages=("taskiq", "taskiq-aio-kafka", "aiokafka"),
        settings="`taskiq worker --workers 1 --max-async-tasks N --no-parse`, "
        "`auto_commit_interval_ms` C, aiokafka's `RoundRobinPartitionAssignor`",
        promise="a task is acknowledged when its result is saved, if the broker has "
        "acknowledgements; this one has none, and its client commits by the clock",
        link=_TASKIQ,
    ),
    Peer(
        name="taskiq in turn",
        module="taskiq_peer",
        setting="in-turn",
        packages=("taskiq", "taskiq-aio-kafka", "aiokafka"),
        settings="the same with `--max-async-tasks 1`",
        promise="the same, one after the other",
        link=_TASKIQ,
    ),
    Peer(
        name="aiokafka partitions",
        module="aiokafka_peer",
        setting="partitions",
        packages=("aiokafka",),
        settings="`enable_auto_commit=False`, `getmany()`, `max_partition_fetch_bytes` for B, the "
        "partitions of a poll at once, `commit(offsets)` after it",
        promise="at least once with a commit after the work; the rest is the loop's",
        link=_AIOKAFKA,
    ),
    Peer(
        name="aiokafka keys",
        module="aiokafka_peer",
        setting="keys",
        packages=("aiokafka",),
        settings="the same, the keys of a poll at once (`by_key`)",
        promise="the same",
        link=_AIOKAFKA,
    ),
    Peer(
        name="confluent in turn",
        module="confluent_peer",
        setting="in-turn",
        packages=("confluent-kafka",),
        settings="`enable.auto.commit=False`, `consume(B)`, one after the other, "
        "`commit(offsets, asynchronous=False)` after each",
        promise="at least once with a synchronous commit after the work",
        link=_CONFLUENT,
    ),
    Peer(
        name="confluent keys",
        module="confluent_peer",
        setting="keys",
        packages=("confluent-kafka",),
        settings="the same with `AIOConsumer`, `consume(P * B)`, its keys at once (`by_key`)",
        promise="the same; the rest is the loop's",
        link=_CONFLUENT,
    ),
)
