"""What stands on a broker, whoever's it is: topics, groups, and whether somebody is in a group.

Not here: the topics of one run or system (`topics.py`).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient

from lab.bus.kafka.client import KAFKA_ERRORS, KafkaSettings, mapped, within

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBroker:
    """Names as they are on the broker. `used` are the groups that have a member."""

    topics: frozenset[str]
    groups: frozenset[str]
    used: frozenset[str]


async def everything(settings: KafkaSettings) -> OnBroker:
    """Everything on the broker, over a connection of its own.

    Raises:
        Transient, Permanent: the broker was not reached, or does not tell.
    """

    async def ask(admin: AIOKafkaAdminClient) -> OnBroker:
        groups = frozenset(name for name, *_ in await admin.list_consumer_groups())
        # One by one: the library merges the answers of many, and loses their names.
        used = {name for name in groups if await _has_members(admin, name)}
        return OnBroker(
            topics=frozenset(await admin.list_topics()), groups=groups, used=frozenset(used)
        )

    return await _asked(settings, ask)


async def missing(settings: KafkaSettings, topics: Iterable[str]) -> Sequence[str]:
    """Those of the topics that the broker has not; none is made by asking. Raises as above."""

    async def ask(admin: AIOKafkaAdminClient) -> Sequence[str]:
        there = frozenset(await admin.list_topics())
        return [topic for topic in topics if settings.topic(topic) not in there]

    return await _asked(settings, ask)


async def _asked(settings: KafkaSettings, ask: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    admin = AIOKafkaAdminClient(**settings.connection("lab-everybody", settings.connect_us))

    async def asking() -> T:
        await admin.start()
        return await ask(admin)

    try:
        return await within(settings.connect_us, asking())
    except KAFKA_ERRORS as error:
        raise mapped(error, "everything") from error
    finally:
        await admin.close()


async def _has_members(admin: AIOKafkaAdminClient, group: str) -> bool:
    (answer,) = await admin.describe_consumer_groups([group])
    return any(described[-2] for described in answer.groups)
