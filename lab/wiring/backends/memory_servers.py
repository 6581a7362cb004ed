"""The survivors of every crash: broker, stores and third parties of one simulated run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from lab.bus.memory.log import MemoryLog
from lab.domain.events import READS, TOPICS, topics_of
from lab.history.recorder import Write
from lab.ports.bus import dead_letter_topic, retry_topic
from lab.providers.antifraud import AntifraudServer
from lab.providers.core import KeyMode, Server
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import KeyedChance
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.scheduler import AnyScheduler
from lab.settings import Settings
from lab.stores.memory.dedupe import MemoryDedupeServer
from lab.stores.memory.store import MemoryStoreServer
from lab.wiring.policy import Policy

S = TypeVar("S", bound=Server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The servers of one simulated world. `timers` are those of the harness, which never dies."""

    log: MemoryLog
    store: MemoryStoreServer
    dedupe: MemoryDedupeServer
    warehouse: WarehouseServer
    antifraud: AntifraudServer
    gateway: GatewayServer
    mailer: MailerServer
    timers: ProcessLoop


def make_servers(scheduler: AnyScheduler, policy: Policy, *, write: Write | None) -> Servers:
    """Start broker, stores and third parties on the harness process, topics and groups included."""
    root, settings, chance = scheduler.root, policy.settings, policy.chance
    third = make_third_parties(settings, chance, now_us=root.now_us, write=write)
    return Servers(
        timers=root,
        log=_make_log(root, settings, write),
        store=MemoryStoreServer(
            root,
            # Nothing may be forgotten that can still come again.
            retention_us=max(
                settings.us("dedupe.window_ms"),
                settings.us("orders.expiry_ms"),
                settings.us("provider_key.lifetime_ms"),
            ),
            shards=settings.number("outbox.shards"),
            write=write,
            is_blocked=lambda customer: is_blocked(settings, chance, customer),
        ),
        dedupe=MemoryDedupeServer(
            root,
            window_us=settings.us("dedupe.window_ms"),
            accepts=policy.accepts,
        ),
        warehouse=third.warehouse,
        antifraud=third.antifraud,
        gateway=third.gateway,
        mailer=third.mailer,
    )


def _make_log(root: ProcessLoop, settings: Settings, write: Write | None) -> MemoryLog:
    """The broker, with every topic and group of a run."""
    log = MemoryLog(
        root,
        session_us=settings.us("bus.session_ms"),
        rebalance_us=settings.us("bus.rebalance_ms"),
        write=write,
        epoch_us=root.wall_us(),
        copies=settings.number("bus.replication"),
        min_insync=settings.number("bus.min_insync"),
    )
    tiers = len(settings.many_us("retry.tiers_ms"))
    log.create_topics(dict.fromkeys(all_topics(tiers), settings.number("bus.partitions")))
    for group in READS:
        log.declare_group(group, group_topics(group, tiers))
    return log


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdServers:
    """The servers of the third parties."""

    warehouse: WarehouseServer
    antifraud: AntifraudServer
    gateway: GatewayServer
    mailer: MailerServer

    @property
    def all(self) -> tuple[Server, ...]:
        """Each of them."""
        return (self.warehouse, self.antifraud, self.gateway, self.mailer)


def make_third_parties(
    settings: Settings, chance: KeyedChance, *, now_us: Callable[[], int], write: Write | None
) -> ThirdServers:
    """The third parties of one run; `write` takes their ledgers' entries."""

    def make(
        server: type[S], latency: str, refused_percent: float, key_mode: KeyMode = KeyMode.STRIPE
    ) -> S:
        return server(
            chance=chance,
            now_us=now_us,
            latency_us=settings.us(latency),
            write=write,
            key_mode=key_mode,
            key_lifetime_us=settings.us("provider_key.lifetime_ms"),
            refused_percent=refused_percent,
        )

    refused_percent = _refused_percent(settings)
    return ThirdServers(
        warehouse=make(WarehouseServer, "validation.latency_ms", refused_percent),
        antifraud=make(AntifraudServer, "validation.latency_ms", refused_percent),
        gateway=make(
            GatewayServer,
            "payment.latency_ms",
            settings.number("payment.declined_percent"),
            KeyMode(settings.text("payment.key_mode")),
        ),
        mailer=make(MailerServer, "mailer.latency_ms", 0.0),
    )


def is_blocked(settings: Settings, chance: KeyedChance, customer: str) -> bool:
    """Whether the orders of a customer are refused for his record."""
    return chance.u("blocked", customer) * 100 < _refused_percent(settings)


def _refused_percent(settings: Settings) -> float:
    """Share that each of three refuses, warehouse, antifraud, the customer's record.

    They decide independently of each other, and one no is enough: together they refuse as many as
    was asked for.
    """
    kept = 1 - settings.number("validation.rejected_percent") / 100
    return float(100 * (1 - kept ** (1 / 3)))


@cache
def group_topics(group: str, tiers: int) -> tuple[str, ...]:
    """Everything that a group consumes: its main topics and its own retry topics of each."""
    main = topics_of(group)
    return (
        *main,
        *(retry_topic(topic, group, tier) for topic in main for tier in range(tiers + 1)),
    )


@cache
def all_topics(tiers: int) -> tuple[str, ...]:
    """Every topic of a run: main topics, and retry topics and dead-letter queues per group."""
    own = (
        name
        for group in READS
        for name in (
            *group_topics(group, tiers),
            *(dead_letter_topic(topic, group) for topic in topics_of(group)),
        )
    )
    return tuple(dict.fromkeys((*TOPICS, *own)))
