"""The chain around a service's handlers, between the delivery loop and the service.

Its ends are TypeFilter and Invoke; the links between them stand in the table of the switches, from
the outside in. Not here: which part a link is (`policy`), the services inside (`roles`), and the
worlds outside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.loop.ends import Invoke, TypeFilter
from lab.bus.loop.workers import Bury
from lab.domain.codec import decode
from lab.domain.events import READS
from lab.faults.bus.records import delay_deliveries, drop_acks
from lab.faults.plan.plan import FaultPlan
from lab.patterns.commit_prefix import commit_highest, commit_prefix
from lab.patterns.dead_letter import DeadLetterQueue, DeadLetters, Limiter
from lab.patterns.dedupe import Dedupe, MarkBefore
from lab.patterns.drain import DRAIN_PERCENT
from lab.patterns.fencing import accept_any, accept_present
from lab.patterns.inbox import Inbox, NoInbox
from lab.patterns.key_lanes import KeyLanes, KeyParking, PlainParking, PlainTiers
from lab.patterns.outbox import DirectPublish
from lab.patterns.poison_guard import PoisonGuard, SoloGate
from lab.patterns.retry import NoRetry, RetryBudget, Retrying, RetryPolicy
from lab.patterns.timeout import NoTimeout, Timeout
from lab.ports.bus import Consumer, Handle, Ordering
from lab.ports.service import Service
from lab.ports.store import OrderStore
from lab.runtime.chance import Chance
from lab.settings import Settings
from lab.wiring.backends.memory_servers import group_topics
from lab.wiring.ports import Life, Ports

_AGAIN_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What every process of a run is built by."""

    settings: Settings
    off: tuple[str, ...]
    chance: Chance
    plan: FaultPlan

    def has(self, pattern: str) -> bool:
        """Whether a pattern is on."""
        return pattern not in self.off


class DirectStore:
    """An order store whose commit publishes the events itself: the weak part of `outbox`."""

    def __init__(self, store: OrderStore, ports: Ports) -> None:
        self.commit = DirectPublish(store, ports.publisher).commit
        self.load = store.load
        self.outcome = store.outcome
        self.http_key = store.http_key
        self.due = store.due
        self.wait_due = store.wait_due


def committing_store(ports: Ports, policy: Policy) -> OrderStore:
    """The order store as services and patterns commit to it."""
    if policy.has("outbox"):
        return ports.orders
    return cast("OrderStore", DirectStore(ports.orders, ports))


def make_timeout(life: Life, policy: Policy) -> Timeout | NoTimeout:
    """Deadlines of handlers and of calls to third parties."""
    if not policy.has("timeout"):
        return NoTimeout()
    return Timeout(
        handler_us=policy.settings.us("timeout.handler_ms"),
        clock=life.clock.now_us,
        now=life.now,
        process=life.process,
        write=life.write,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A delivery loop with its chain; `limiter` is told when the faults have ended."""

    loop: DeliveryLoop
    limiter: Limiter


def make_subscription(
    life: Life,
    ports: Ports,
    consumer: Consumer,
    policy: Policy,
    service: Service,
    timeout: Timeout | NoTimeout,
) -> Subscription:
    """Compose the chain of one consumer group around its service."""
    settings, group = policy.settings, life.group
    queue = DeadLetterQueue(
        publisher=ports.publisher, group=group, now=life.now, process=life.process, write=life.write
    )
    limiter = Limiter(
        in_a_row=settings.number("dead_letter.in_a_row"),
        share_percent=settings.number("dead_letter.share_percent"),
        pause_us=settings.us("dead_letter.pause_ms"),
        now=life.clock.now_us,
    )
    store = committing_store(ports, policy)
    tiers = _make_tiers(life, ports, policy, queue)
    inner = _make_inner(
        life,
        ports,
        policy,
        service=service,
        timeout=timeout,
        store=store,
        queue=queue,
        parking=tiers.parking,
    )
    bury: Bury | None = None
    if policy.has("dead_letter"):
        inner = letters = DeadLetters(
            inner,
            queue=queue,
            store=store,
            on_dead=service.on_dead,
            reads=READS[group],
            limiter=limiter,
            again_us=_AGAIN_US,
            now=life.now,
            process=life.process,
            write=life.write,
        )
        bury = letters.bury
    lanes = tiers.around(inner)
    edge = TypeFilter(lanes, reads=frozenset(READS[group]), move=lanes.move)
    return Subscription(loop=_make_loop(life, policy, consumer, edge, bury), limiter=limiter)


def _make_loop(
    life: Life, policy: Policy, consumer: Consumer, edge: TypeFilter, bury: Bury | None
) -> DeliveryLoop:
    """The delivery loop of one member around its chain."""
    return DeliveryLoop(
        consumer=consumer,
        handle=_struck(edge, life, policy),
        skips=edge.skips,
        topics=group_topics(life.group, len(policy.settings.many_us("retry.tiers_ms"))),
        group=life.group,
        process=life.process,
        limits=_limits(policy),
        position=commit_prefix if policy.has("commit_prefix") else commit_highest,
        accepts=accept_present if policy.has("fencing") else accept_any,
        now=life.now,
        write=life.write,
        move=edge.move,
        bury=bury,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiers:
    """How events wait between attempts, and the link that brings them back."""

    parking: KeyParking | PlainParking
    around: "Callable[[Handle], KeyLanes | PlainTiers]"


def _make_tiers(life: Life, ports: Ports, policy: Policy, queue: DeadLetterQueue) -> _Tiers:
    if not policy.has("key_lanes"):
        plain = PlainParking(publisher=ports.publisher, group=life.group, wall=life.clock.wall_us)
        return _Tiers(
            parking=plain,
            around=lambda inner: PlainTiers(
                inner, parking=plain, wall=life.clock.wall_us, again_us=_AGAIN_US
            ),
        )
    parking = KeyParking(
        store=ports.key_retry,
        publisher=ports.publisher,
        group=life.group,
        tiers_us=policy.settings.many_us("retry.tiers_ms"),
    )
    return _Tiers(
        parking=parking,
        around=lambda inner: KeyLanes(
            inner,
            parking=parking,
            store=ports.key_retry,
            group=life.group,
            republish=queue.publish_again,
            again_us=_AGAIN_US,
            now=life.now,
            process=life.process,
            write=life.write,
        ),
    )


def _make_inner(
    life: Life,
    ports: Ports,
    policy: Policy,
    *,
    service: Service,
    timeout: Timeout | NoTimeout,
    store: OrderStore,
    queue: DeadLetterQueue,
    parking: KeyParking | PlainParking,
) -> Handle:
    """From the handler outward to retry."""
    settings = policy.settings
    told = {"now": life.now, "process": life.process, "write": life.write}
    inbox: Inbox | NoInbox = (
        Inbox(store, republish=queue.publish_again, **told)  # type: ignore[arg-type]  # each has its own type in the dict
        if policy.has("inbox")
        else NoInbox(store, republish=queue.publish_again)
    )
    handlers = service.handlers()
    if life.faults is not None:
        handlers = life.faults.around_handlers(handlers)
    inner: Handle = Invoke(
        handlers=handlers,
        decode=decode,
        settler=inbox,
        watch=timeout.watch,
        **told,  # type: ignore[arg-type]  # each has its own type in the dict
    )
    if policy.has("poison_guard"):
        inner = PoisonGuard(
            inner,
            store=ports.starts,
            gate=SoloGate(),
            solo_starts=settings.number("poison_guard.solo_starts"),
            **told,  # type: ignore[arg-type]  # each has its own type in the dict
        )
    inner = inbox.link(inner)
    if policy.has("dedupe"):
        inner = _make_dedupe(inner, life, ports, policy, store)
    return _make_retry(inner, life, policy, parking)


def _make_retry(
    inner: Handle, life: Life, policy: Policy, parking: KeyParking | PlainParking
) -> Handle:
    settings = policy.settings
    retry = Retrying if policy.has("retry") else NoRetry
    chance = policy.chance
    return retry(
        inner,
        policy=RetryPolicy(
            attempts_max=settings.number("retry.attempts_max"),
            in_place=settings.number("retry.in_place"),
            base_us=settings.us("retry.base_ms"),
            cap_us=settings.us("retry.cap_ms"),
            tiers_us=settings.many_us("retry.tiers_ms"),
            max_elapsed_us=settings.us("retry.max_elapsed_ms"),
        ),
        budget=RetryBudget(
            settings.number("retry.budget_tokens"), settings.real("retry.budget_refill")
        ),
        parking=parking,
        jitter=lambda event_id, attempt: chance.u("jitter", event_id, attempt),
        wall=life.clock.wall_us,
        now=life.now,
        process=life.process,
        write=life.write,
    )


def _make_dedupe(
    inner: Handle, life: Life, ports: Ports, policy: Policy, store: OrderStore
) -> Handle:
    settings = policy.settings
    if settings.number("dedupe.phases") == 1:
        return MarkBefore(
            inner,
            store=ports.dedupe,
            owner=life.process,
            window_us=settings.us("dedupe.window_ms"),
            now=life.now,
            process=life.process,
            write=life.write,
        )
    return Dedupe(
        inner,
        store=ports.dedupe,
        look=store.outcome,
        owner=life.process,
        lease_us=settings.us("dedupe.lease_ms"),
        window_us=settings.us("dedupe.window_ms"),
        is_open=settings.text("dedupe.when_down") == "open",
        now=life.now,
        process=life.process,
        write=life.write,
    )


def _struck(handle: Handle, life: Life, policy: Policy) -> Handle:
    """The chain with the faults that strike around it."""
    if policy.plan.wants("bus.drop_ack", life.group):
        lease_us = policy.settings.us("dedupe.lease_ms")
        handle = drop_acks(handle, plan=policy.plan, group=life.group, lease_us=lease_us)
    if life.faults is not None:
        handle = life.faults.around_handle(handle)
    if life.stores is not None:
        handle = life.stores.around_handle(handle)
    if policy.plan.wants("bus.delay", life.group):
        handle = delay_deliveries(handle, plan=policy.plan, group=life.group)
    return handle


def _limits(policy: Policy) -> Limits:
    settings = policy.settings
    return Limits(
        ordering=Ordering.KEY if policy.has("key_lanes") else Ordering.NONE,
        workers=settings.number("bus.workers"),
        max_in_flight=settings.number("bus.max_in_flight"),
        max_uncommitted=settings.number("bus.max_uncommitted"),
        commit_every=settings.number("bus.commit_every"),
        commit_after_us=settings.us("bus.commit_after_ms"),
        revoke_us=settings.us("drain.grace_ms"),
        rest_us=settings.us("drain.grace_ms") * (100 - DRAIN_PERCENT) // 100,
    )
