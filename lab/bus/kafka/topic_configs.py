"""How topics of the lab are made: their copies and their bounds.

Not here: making them (`topics`).
"""

from typing import Final

from lab.bus.kafka.client import BATCH_BYTES_MAX, KafkaSettings
from lab.bus.kafka.retention import retention_configs
from lab.domain.errors import EnvironmentNotReady
from lab.ports.bus import record_limit

_COPIES_MOST: Final = 3
"""Of a topic, unless more are asked for."""

_FORMAT_BYTES: Final = BATCH_BYTES_MAX - record_limit("a.b")


def copies_of(settings: KafkaSettings, brokers: int) -> int:
    """The copies of every topic that is made, where there are so many brokers.

    Raises:
        EnvironmentNotReady: the settings ask for more than there can be.
    """
    copies = settings.replication or min(brokers, _COPIES_MOST)
    if copies > brokers:
        raise EnvironmentNotReady(
            f"bus.replication = {copies} asks for more copies than there are brokers ({brokers})",
            server="Kafka",
            address=settings.bootstrap,
            remedy="start the others, or lower bus.replication",
        )
    if settings.min_insync > copies:
        raise EnvironmentNotReady(
            f"bus.min_insync = {settings.min_insync} asks for more copies than a topic has "
            f"({copies})",
            server="Kafka",
            address=settings.bootstrap,
            remedy="lower bus.min_insync, or raise bus.replication",
        )
    return copies


def configs_of(settings: KafkaSettings, topic: str, copies: int) -> dict[str, str]:
    """The bounds that the port names, in place of the broker's defaults."""
    in_sync = settings.min_insync or max(copies - 1, 1)
    return {
        "min.insync.replicas": str(in_sync),
        "max.message.bytes": str(record_limit(topic) + _FORMAT_BYTES),
        "message.timestamp.type": "CreateTime",
        **retention_configs(settings),
    }
