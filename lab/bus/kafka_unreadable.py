"""A record that the client library cannot hand out at all: what is said of it.

Names of headers are text to the library; one in other bytes ends its reading, again and again, at
that place. Such a record can neither be handled nor put aside, and must not be passed over in
silence. Deliberately not here: records that are merely not ours, which are dead-lettered.

Source: `aiokafka` 0.14, `consumer/fetcher.py`.
"""

import inspect
from typing import Any

from lab.bus.kafka_client import KafkaSettings
from lab.domain.errors import EnvironmentNotReady


def unreadable(member: Any, group: str, settings: KafkaSettings) -> EnvironmentNotReady:
    """The error that names the place of the record at which `member` cannot go on."""
    what, remedy = "there is a record whose headers have names that are no UTF-8", "remove it"
    for place, found in member._fetcher._records.items():  # noqa: SLF001 - there is no public way
        records: Any = getattr(found, "_partition_records", None)
        reading = getattr(records, "_records_iterator", None)
        # The iterator that has raised is at its end.
        if inspect.isgenerator(reading) and inspect.getgeneratorstate(reading) == "GEN_CLOSED":
            at = records.next_fetch_offset
            what = (
                f"the record at offset {at} of topic {place.topic}, partition {place.partition} "
                "cannot be read: the name of a header is no UTF-8"
            )
            remedy = (
                "stop the group and move it on: kafka-consumer-groups --bootstrap-server "
                f"{settings.bootstrap} --group {settings.topic(group)} "
                f"--topic {place.topic}:{place.partition} --reset-offsets --to-offset {at + 1} "
                "--execute"
            )
            break
    return EnvironmentNotReady(what, server="Kafka", address=settings.bootstrap, remedy=remedy)
