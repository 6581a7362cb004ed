"""What survives every crash: the broker, the stores and the third parties of one simulated run."""

from dataclasses import dataclass

from lab.bus.memory import MemoryLog
from lab.domain.events import READS, TOPICS, topics_of
from lab.history.recorder import Write
from lab.patterns.fencing import accept_any, accept_present
from lab.ports.bus import dead_letter_topic, retry_topic
from lab.providers.antifraud import AntifraudServer
from lab.providers.core import KeyMode
from lab.providers.mailer import MailerServer
from lab.providers.payment_gateway import GatewayServer
from lab.providers.warehouse import WarehouseServer
from lab.runtime.chance import Chance
from lab.runtime.process_loop import ProcessLoop
from lab.runtime.virtual_loop import Scheduler
from lab.settings import Settings
from lab.stores.memory import MemoryStoreServer
from lab.stores.memory_dedupe import MemoryDedupeServer


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


def make_servers(
    scheduler: Scheduler,
    settings: Settings,
    chance: Chance,
    *,
    off: tuple[str, ...],
    write: Write | None,
) -> Servers:
    """Start broker, stores and third parties on the harness process, topics and groups included."""
    root = scheduler.root
    log = MemoryLog(
        root,
        session_us=settings.us("bus.session_ms"),
        rebalance_us=settings.us("bus.rebalance_ms"),
        write=write,
        epoch_us=root.wall_us(),
    )
    partitions = settings.number("bus.partitions")
    tiers = len(settings.many_us("retry.tiers_ms"))
    log.create_topics(dict.fromkeys(all_topics(tiers), partitions))
    for group in READS:
        log.declare_group(group, group_topics(group, tiers))
    blocked_percent = settings.number("validation.rejected_percent")
    latency_us = settings.us("validation.latency_ms")
    lifetime_us = settings.us("provider_key.lifetime_ms")
    return Servers(
        log=log,
        timers=root,
        store=MemoryStoreServer(
            root,
            retention_us=settings.us("dedupe.window_ms"),
            shards=settings.number("outbox.shards"),
            write=write,
            is_blocked=lambda customer: chance.u("blocked", customer) * 100 < blocked_percent / 3,
        ),
        dedupe=MemoryDedupeServer(
            root,
            window_us=settings.us("dedupe.window_ms"),
            accepts=accept_any if "fencing" in off else accept_present,
        ),
        warehouse=WarehouseServer(
            chance=chance,
            now_us=root.now_us,
            latency_us=latency_us,
            write=write,
            refused_percent=blocked_percent / 3,
        ),
        antifraud=AntifraudServer(
            chance=chance,
            now_us=root.now_us,
            latency_us=latency_us,
            write=write,
            refused_percent=blocked_percent / 3,
        ),
        gateway=GatewayServer(
            chance=chance,
            now_us=root.now_us,
            latency_us=settings.us("payment.latency_ms"),
            write=write,
            key_mode=KeyMode(settings.text("payment.key_mode")),
            key_lifetime_us=lifetime_us,
            refused_percent=settings.number("payment.declined_percent"),
        ),
        mailer=MailerServer(
            chance=chance,
            now_us=root.now_us,
            latency_us=settings.us("mailer.latency_ms"),
            write=write,
            key_lifetime_us=lifetime_us,
        ),
    )


def group_topics(group: str, tiers: int) -> tuple[str, ...]:
    """Everything that a group consumes: its main topics and its own retry topics of each."""
    main = topics_of(group)
    return (
        *main,
        *(retry_topic(topic, group, tier) for topic in main for tier in range(tiers + 1)),
    )


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
