"""How long the topics of a system keep a record: what the broker says of it, and how it is changed.

Not here: making topics (`topics.py`), and what a safe time is (`lab.settings`).
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from lab.bus.kafka.client import KAFKA_ERRORS, KafkaSettings, mapped, within
from lab.domain.errors import Transient

_SEEN_S: Final = 40
_KEPT: Final = "retention.ms"
_SEGMENT: Final = "segment.ms"
_OTHERS: Final = ("max.message.bytes", "message.timestamp.type", "min.insync.replicas")
"""What a topic was made with, too: a change says all, and forgets what it does not say."""


def retention_configs(settings: KafkaSettings) -> dict[str, str]:
    """The part of a topic's configuration that says how long it keeps a record."""
    if not settings.prefix:
        return {}
    if not settings.retention_ms:
        return {_KEPT: "-1"}
    return {_KEPT: str(settings.retention_ms), _SEGMENT: str(settings.segment_ms)}


async def keep_for(settings: KafkaSettings, topics: Sequence[str]) -> None:
    """Have topics that exist keep records as `settings` say; nothing else of them is changed.

    Returns when the broker says so of each: the one that is asked next has heard of it then.

    Raises:
        Transient, Permanent: the broker was not reached, or does not let us.
    """
    present = await _configs(settings, topics, _OTHERS)
    wanted = [
        _resource(name, {**configs, **retention_configs(settings)})
        for name, configs in present.items()
    ]
    for response in await _ask(settings, lambda admin: admin.alter_configs(wanted)):
        _raise_for((code, name) for code, _, _, name in response.resources)
    clock = asyncio.get_running_loop()
    end = clock.time() + _SEEN_S
    while not await _are_as(settings, topics):
        if clock.time() >= end:
            raise Transient(f"the broker does not say what it was told within {_SEEN_S} s")
        await asyncio.sleep(0.02)


async def _are_as(settings: KafkaSettings, topics: Sequence[str]) -> bool:
    """Whether the broker says of each topic that it keeps records as `settings` say."""
    wanted = retention_configs(settings)
    found = (await _configs(settings, topics, tuple(wanted))).values()
    return all(configs.get(name) == value for configs in found for name, value in wanted.items())


async def kept_ms(settings: KafkaSettings, topics: Sequence[str]) -> tuple[int, int]:
    """How long the broker keeps records of these topics at most, and the time of a segment.

    Returns:
        Milliseconds each; the first is 0 if some topic keeps them for ever.

    Raises:
        Transient, Permanent: the broker was not reached, or does not tell.
    """
    found = (await _configs(settings, topics, (_KEPT, _SEGMENT))).values()
    kept = [int(configs[_KEPT]) for configs in found]
    segment_ms = max(int(configs[_SEGMENT]) for configs in found)
    return (max(kept) if min(kept) >= 0 else 0), segment_ms


async def _configs(
    settings: KafkaSettings, topics: Iterable[str], names: Sequence[str]
) -> Mapping[str, dict[str, str]]:
    """Some values of each topic, by its name on the broker."""
    asked = [_resource(settings.topic(topic), dict.fromkeys(names)) for topic in topics]
    found = {}
    for response in await _ask(settings, lambda admin: admin.describe_configs(asked)):
        _raise_for((topic[0], topic[3]) for topic in response.resources)
        for topic in response.resources:
            found[topic[3]] = {config[0]: config[1] for config in topic[4]}
    return found


def _resource(name: str, configs: Mapping[str, str | None]) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, name, dict(configs))


async def _ask(settings: KafkaSettings, ask: Any) -> Any:
    """The answers to one question, over a connection of its own."""
    admin = AIOKafkaAdminClient(**settings.connection("lab-retention", settings.connect_us))

    async def asking() -> Any:
        await admin.start()
        return await ask(admin)

    try:
        return await within(settings.connect_us, asking())
    except KAFKA_ERRORS as error:
        raise mapped(error, "topics") from error
    finally:
        await admin.close()


def _raise_for(codes: Iterator[tuple[int, str]]) -> None:
    for code, name in codes:
        if code:
            raise mapped(kafka_errors.for_code(code)(name), "topics")
