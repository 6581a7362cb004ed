"""The backends on real servers: Kafka, PostgreSQL, Redis, and third parties over HTTP.

Everything of a run carries its name there, so that two runs do not meet, and only that is removed.
Not here: starting servers, and where they are (`readiness`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lab.bus.kafka import everybody
from lab.bus.kafka import facts as kafka_facts
from lab.bus.kafka import retention as kafka_retention
from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.lag import KafkaWatch
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.security import KafkaSecurity
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady, LabError, Transient
from lab.domain.events import READS
from lab.faults.processes.crash_sites import Role
from lab.history.entries import Entry
from lab.history.journal import merged
from lab.ports.bus import Publisher, TopicReader, Unread
from lab.ports.retention import RetentionStore
from lab.providers.http_client import HttpProviders
from lab.providers.ledger_file import ledger_entries
from lab.resources import how_to_start
from lab.runtime.clock import SystemClock
from lab.runtime.http_caller import http_caller
from lab.runtime.ids import subject_of
from lab.settings import Settings, oldest_ms, segment_ms
from lab.stores.postgres import facts as postgres_facts
from lab.stores.postgres import schema as postgres_schema
from lab.stores.postgres.errors import Stage, VendorErrors, to_lab_error
from lab.stores.postgres.link import Link, Links, PostgresServer, connect, not_ready
from lab.stores.postgres.retention import PostgresRetention
from lab.stores.postgres.store import open_store
from lab.stores.reachability import Tell, tell_nobody
from lab.wiring.backends.interface import (
    Backends,
    BusBackend,
    BusClients,
    StoreBackend,
    StoreClients,
    Survey,
    ThirdParties,
    ThirdPartiesBackend,
)
from lab.wiring.backends.memory_servers import all_topics, group_topics
from lab.wiring.backends.redis_claims import RedisBackend
from lab.wiring.ports import Life

_SILENT: Final = "it has stopped answering, so nothing can be said of the run"

_MANY: Final = 1_000_000
"""The number owed by a server that cannot be asked now: certainly not 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The servers of a run, and its name on them.

    Attributes:
        name: small letters, digits and `_`; of the schema, the topics and the keys.
        providers_url: of the third parties' front; "" if they are in this process.
    """

    name: str
    postgres_dsn: str
    redis_url: str
    kafka_bootstrap: str
    kafka_security: KafkaSecurity = field(default_factory=KafkaSecurity)
    providers_url: str = ""


def kafka_settings(where: Where, settings: Settings, *, is_run: bool = True) -> KafkaSettings:
    """The broker as the clients of one run use it, or those of a standing system."""
    # The checks read a run's topics whole; the run removes them itself.
    kept_ms = 0 if is_run else settings.number("bus.retention_ms")
    return KafkaSettings(
        bootstrap=where.kafka_bootstrap,
        prefix=where.name.replace("_", "-"),
        session_us=settings.us("bus.session_ms"),
        rebalance_us=settings.us("bus.rebalance_ms"),
        retention_ms=kept_ms,
        segment_ms=segment_ms(kept_ms),
        replication=settings.number("bus.replication"),
        min_insync=settings.number("bus.min_insync"),
        security=where.kafka_security,
    )


class KafkaBackend(BusBackend):
    """The topics of a run on a Kafka.

    Args:
        where: the broker and the run's name.
        settings: policies.
        epoch_us: wall time at which the history's clock showed 0.
        is_run: whether they are read whole for a verdict, and then removed.

    Attributes:
        made: topics that `prepare` has made.
    """

    make = "kafka"

    def __init__(
        self, where: Where, settings: Settings, *, epoch_us: int, is_run: bool = True
    ) -> None:
        self._kafka = kafka_settings(where, settings, is_run=is_run)
        self._tiers = len(settings.many_us("retry.tiers_ms"))
        self._partitions = settings.number("bus.partitions")
        self._epoch_us = epoch_us
        self._since_us = SystemClock().wall_us()
        self._topics = KafkaTopics(self._kafka)
        self.made: Sequence[str] = ()
        self._operator = KafkaBus(self._kafka, "operator")
        self._watch = KafkaWatch(
            self._kafka,
            self._topics,
            {group: group_topics(group, self._tiers) for group in READS},
            partitions=self._partitions,
        )

    async def reach(self, stack: AsyncExitStack) -> None:
        """Connect to the broker, and make nothing there.

        Raises:
            EnvironmentNotReady: it cannot be reached, or lets us not in.
        """
        await stack.enter_async_context(self._topics)
        stack.push_async_callback(self._operator.close)

    async def prepare(self, stack: AsyncExitStack) -> None:
        await self.reach(stack)
        await stack.enter_async_context(self._watch)
        topics = all_topics(self._tiers)
        self.made = await self._topics.create(dict.fromkeys(topics, self._partitions))
        await self._topics.settle(topics, READS)

    async def missing(self, topics: Sequence[str]) -> Sequence[str]:
        """Those of the topics that are not there. Used after `reach`.

        Raises:
            Transient: the broker was not reached.
        """
        return await everybody.missing(self._kafka, topics)

    async def keep(self) -> None:
        """Have topics that exist keep records as long as those that are made now.

        Raises:
            Transient, Permanent: the broker was not reached, or does not let us.
        """
        await kafka_retention.keep_for(self._kafka, all_topics(self._tiers))

    async def redelivery_ms(self) -> int:
        """How old a record may be that is delivered again, by what the broker says of its topics.

        Returns:
            0: of any age.

        Raises:
            Transient, Permanent: the broker does not tell.
        """
        return oldest_ms(*await kafka_retention.kept_ms(self._kafka, all_topics(self._tiers)))

    async def connect(self, life: Life, stack: AsyncExitStack) -> BusClients:
        bus = KafkaBus(self._kafka, life.member)
        stack.push_async_callback(bus.close)
        return BusClients(
            publisher=bus.publisher(), consumer=lambda: bus.consumer(life.group, Unread.EARLIEST)
        )

    async def lag(self) -> int:
        try:
            return await self._watch.lag()
        except LabError:
            return _MANY

    async def answers(self) -> None:
        """Return if the broker answers, in bounded time. Used after `prepare`.

        Raises:
            Transient: it does not.
        """
        await self._topics.version()

    async def lag_of(self, group: str) -> Mapping[str, int]:
        """Records that the group has not committed, by topic. Used after `prepare`.

        Raises:
            Transient: the broker was not reached in time.
        """
        return await self._watch.of_group(group)

    def reader(self) -> TopicReader:
        return self._topics

    def publisher(self) -> Publisher:
        return self._operator.publisher()

    async def facts(self) -> AsyncIterator[Entry]:
        topics, epoch_us = self._topics, self._epoch_us
        try:
            appended = await kafka_facts.appended(
                topics, all_topics(self._tiers), epoch_us=epoch_us
            )
            committed = await kafka_facts.committed(
                topics,
                self._kafka,
                tuple(READS),
                since_us=self._since_us,
                epoch_us=epoch_us,
                wall_us=SystemClock().wall_us,
            )
        except Transient as error:
            raise self._gone(_SILENT) from error
        for entry in merged([appended, committed]):
            yield entry

    async def remove(self) -> None:
        try:
            await self._topics.delete()
        except Transient as error:
            raise self._gone("it has stopped answering") from error

    def _gone(self, what: str) -> EnvironmentNotReady:
        return EnvironmentNotReady(
            what,
            server="Kafka",
            address=self._kafka.bootstrap,
            remedy=how_to_start("kafka", "LAB_KAFKA_BOOTSTRAP"),
        )


class PostgresBackend(StoreBackend):
    """The schema of a run on a PostgreSQL.

    Args:
        where: the server and the run's name.
        settings: policies.
        epoch_us: wall time at which the history's clock showed 0.
        blocked: gives the blocked customers; asked once, by `prepare`.
        member: the process, for the server's list of sessions.
        keeps_facts: whether what happens is written down for a verdict, too.
        tell: hears when the server is of no use, and when it is again.

    Attributes:
        made: migrations that `prepare` has applied.
    """

    make = "postgres"

    def __init__(
        self,
        where: Where,
        settings: Settings,
        *,
        epoch_us: int,
        blocked: Callable[[], Sequence[str]] = tuple,
        member: str = "",
        keeps_facts: bool = True,
        tell: Tell = tell_nobody,
    ) -> None:
        self._server = PostgresServer(
            dsn=where.postgres_dsn,
            schema=where.name.replace("-", "_"),
            member=member,
            keeps_facts=keeps_facts,
        )
        self._tell = tell
        self.made: tuple[str, ...] = ()
        self._shards = settings.number("outbox.shards")
        self._epoch_us = epoch_us
        self._blocked = blocked
        self._looking: Any = None
        # Not one that work can be waiting for: being busy is not unready.
        self._probe = Link(self._server)

    async def exists(self) -> bool:
        """Whether the schema is there.

        Raises:
            EnvironmentNotReady: it is not ours, or the server cannot be reached.
        """
        return await postgres_schema.exists(self._server)

    async def prepare(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._probe.close)
        self.made = await postgres_schema.prepare(self._server, shards=self._shards)
        if blocked := self._blocked():
            await postgres_schema.block_customers(self._server, blocked)
        stack.push_async_callback(self._hang_up)

    async def connect(self, life: Life, stack: AsyncExitStack) -> StoreClients:  # noqa: ARG002 - all lives of a process use the same server
        store = open_store(self._server, shards=self._shards, tell=self._tell)
        stack.push_async_callback(store.close)
        return StoreClients(
            orders=store.orders,
            outbox=store.outbox,
            starts=store.orders,
            key_retry=store.key_retry,
            customers=store.orders,
        )

    def retention(self, stack: AsyncExitStack, *, patience_us: int) -> RetentionStore:
        """See `StoreBackend.retention`; over one connection more."""
        timeout_us = max(self._server.timeout_us, patience_us)
        links = Links(replace(self._server, timeout_us=timeout_us), 1)
        stack.push_async_callback(links.close)
        return PostgresRetention(links)

    async def owed(self) -> Mapping[str, int]:
        try:
            left = await postgres_facts.count_left(await self._look())
        except (LabError, *VendorErrors):
            await self._hang_up()
            return {"outbox": _MANY, "waiting": _MANY}
        return {"outbox": left["outbox"], "waiting": left["waiting"]}

    async def is_expiry_due(self) -> bool:
        try:
            return await postgres_facts.is_expiry_due(await self._look())
        except (LabError, *VendorErrors):
            await self._hang_up()
            return True

    async def answers(self) -> None:
        """Return if the server answers, in bounded time, on a connection of its own.

        Raises:
            Transient, Down: it does not.
        """
        await self._probe.read("select 1")

    async def outbox_backlog(self) -> tuple[int, int]:
        """Events that are not published, and the age of the oldest in us.

        Raises:
            Transient, Down: the server cannot be asked now.
        """
        try:
            return await postgres_facts.outbox_backlog(await self._look())
        except VendorErrors as error:
            await self._hang_up()
            raise to_lab_error(error, Stage.READ, self._server.where) from error

    async def survey(self) -> Survey:
        # Whoever was interrupted may have left a statement on the connection.
        await self._hang_up()
        try:
            connection = await self._look()
            return Survey(
                by_state=await postgres_facts.orders_by_state(connection),
                subjects=[name async for name in postgres_facts.stored_subjects(connection)],
                open_intents=await postgres_facts.count_open_intents(connection),
            )
        except (LabError, *VendorErrors) as error:
            raise self._gone() from error

    async def facts(self) -> AsyncIterator[Entry]:
        try:
            connection = await self._look()
            async for entry in postgres_facts.gather_all(connection, epoch_us=self._epoch_us):
                yield entry
        except (LabError, *VendorErrors) as error:
            raise self._gone() from error

    async def remove(self) -> None:
        await self._hang_up()
        await postgres_schema.drop(self._server)

    def _gone(self) -> EnvironmentNotReady:
        remedy = how_to_start("postgres", "LAB_POSTGRES_DSN")
        return not_ready(self._server, _SILENT, remedy)

    async def _look(self) -> Any:
        """The one connection of the onlooker of the run."""
        if self._looking is None or self._looking.is_closed():
            self._looking = await connect(self._server, plain="pulse-lab watch")
        return self._looking

    async def _hang_up(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.terminate()


class HttpThirdParties(ThirdPartiesBackend):
    """The third parties behind their HTTP front.

    Args:
        url: of the front.
        ledger: its file, for gathering the facts; None for a caller.
    """

    make = "http"

    def __init__(self, url: str, *, ledger: Path | None = None) -> None:
        self._url = url
        self._ledger = ledger

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Nothing: the front makes its file itself."""

    async def connect(self, life: Life, stack: AsyncExitStack) -> ThirdParties:
        third = HttpProviders(
            http=await stack.enter_async_context(http_caller(self._url)),
            clock=life.clock,
            wall_us=SystemClock().wall_us,
            subject_of=subject_of,
        )
        return ThirdParties(
            warehouse=third.warehouse,
            antifraud=third.antifraud,
            gateway=third.gateway,
            mailer=third.mailer,
        )

    async def facts(self) -> AsyncIterator[Entry]:
        if self._ledger is not None and self._ledger.exists():
            for entry in await asyncio.get_running_loop().run_in_executor(
                None, lambda path: list(ledger_entries(path)), self._ledger
            ):
                yield entry

    async def remove(self) -> None:
        """Nothing: its file belongs to the folder of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealBackends(Backends):
    """All parts of one run, none of them in this process; more is known of those made here."""

    bus: KafkaBackend
    store: PostgresBackend
    dedupe: RedisBackend

    def needed(
        self, role: Role, settings: Settings
    ) -> Mapping[str, Callable[[], Awaitable[object]]]:
        """The servers without which a process can do nothing, each with a question to it.

        Third parties are not among them: calls to them have breakers, and a retry goes its own way.
        """
        found: dict[str, Callable[[], Awaitable[object]]] = {"PostgreSQL": self.store.answers}
        if role is not Role.API:
            found["Kafka"] = self.bus.answers
        if role is Role.CONSUMER and settings.text("dedupe.when_down") == "closed":
            found["Redis"] = self.dedupe.answers
        return found
