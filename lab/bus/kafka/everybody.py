"""What stands on a broker, whoever's it is: topics, groups, and whether somebody is in a group.

Not here: the topics of one run or system (`topics.py`).
"""

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from lab.bus.kafka.client import KAFKA_ERRORS, KafkaSettings, mapped, within


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
    admin = AIOKafkaAdminClient(**settings.connection("lab-everybody", settings.connect_us))

    async def ask() -> OnBroker:
        await admin.start()
        groups = frozenset(name for name, *_ in await admin.list_consumer_groups())
        # One by one: the library merges the answers of many, and loses their names.
        used = {name for name in groups if await _has_members(admin, name)}
        return OnBroker(
            topics=frozenset(await admin.list_topics()), groups=groups, used=frozenset(used)
        )

    try:
        return await within(settings.connect_us, ask())
    except KAFKA_ERRORS as error:
        raise mapped(error, "everything") from error
    finally:
        await admin.close()


async def _has_members(admin: AIOKafkaAdminClient, group: str) -> bool:
    (answer,) = await admin.describe_consumer_groups([group])
    return any(described[-2] for described in answer.groups)
