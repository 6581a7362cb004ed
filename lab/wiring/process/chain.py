"""The chain around a service's handlers, between the delivery loop and the service.

Its ends are TypeFilter and Invoke; the links between them stand in the table of the switches, from
the outside in. Not here: which part a link is (`policy`), the services inside (`roles`), and the
worlds outside.
"""

from dataclasses import dataclass
from typing import Final

from lab.bus.loop.delivery import DeliveryLoop, Limits
from lab.bus.loop.ends import Invoke, TypeFilter
from lab.bus.loop.workers import Bury
from lab.domain.codec import decode
from lab.domain.events import READS
from lab.faults.bus.records import delay_deliveries, drop_acks
from lab.patterns.dead_letter import DeadLetterQueue, Limiter
from lab.patterns.dedupe import MarkBefore
from lab.patterns.drain import DRAIN_PERCENT
from lab.patterns.key_lanes import KeyParking, PlainParking
from lab.patterns.poison_guard import SoloGate
from lab.patterns.retry import RetryBudget, RetryPolicy
from lab.patterns.timeout import NoTimeout, Timeout
from lab.ports.bus import Consumer, Handle
from lab.ports.parking import Parking
from lab.ports.service import Service
from lab.ports.store import OrderStore
from lab.wiring.backends.memory_servers import group_topics
from lab.wiring.policy import Policy, Switches
from lab.wiring.ports import Life, Ports

_AGAIN_US: Final = 1_000_000


def committing_store(ports: Ports, policy: Policy) -> OrderStore:
    """The order store as services and patterns commit to it."""
    return policy.part(Switches.outbox)(ports.orders, ports.publisher)


def make_timeout(life: Life, policy: Policy) -> Timeout | NoTimeout:
    """Deadlines of handlers and of calls to third parties."""
    return policy.part(Switches.timeout)(
        handler_us=policy.settings.us("timeout.handler_ms"),
        provider_us=policy.settings.us("timeout.provider_ms"),
        clock=life.clock.now_us,
        pen=life.pen,
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
    queue = DeadLetterQueue(publisher=ports.publisher, group=group, pen=life.pen)
    limiter = Limiter(
        in_a_row=settings.number("dead_letter.in_a_row"),
        share_percent=settings.number("dead_letter.share_percent"),
        pause_us=settings.us("dead_letter.pause_ms"),
        now=life.clock.now_us,
    )
    store = committing_store(ports, policy)
    parking = _make_parking(life, ports, policy)
    inner = _make_inner(
        life,
        ports,
        policy,
        service=service,
        timeout=timeout,
        store=store,
        queue=queue,
        parking=parking,
    )
    bury: Bury | None = None
    republish = queue.publish_again
    make_letters = policy.part(Switches.dead_letter)
    if make_letters is not None:
        inner = letters = make_letters(
            inner,
            queue=queue,
            store=store,
            on_dead=service.on_dead,
            reads=READS[group],
            limiter=limiter,
            again_us=_AGAIN_US,
            pen=life.pen,
        )
        bury, republish = letters.bury, letters.publish_again
    lanes = parking.link(
        inner, republish=republish, look=store.outcome, again_us=_AGAIN_US, pen=life.pen
    )
    edge = TypeFilter(lanes, reads=frozenset(READS[group]), move=lanes.move)
    return Subscription(loop=_make_loop(life, policy, consumer, edge, bury), limiter=limiter)


def _make_parking(life: Life, ports: Ports, policy: Policy) -> KeyParking | PlainParking:
    """The place where events wait between their attempts, and the link that brings them back."""
    return policy.part(Switches.key_lanes)(
        store=ports.key_retry,
        publisher=ports.publisher,
        group=life.group,
        tiers_us=policy.settings.many_us("retry.tiers_ms"),
        wall=life.clock.wall_us,
    )


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
        limits=_limits(policy),
        position=policy.part(Switches.commit_prefix),
        accepts=policy.accepts,
        pen=life.pen,
        move=edge.move,
        bury=bury,
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
    parking: Parking,
) -> Handle:
    """From the handler outward to retry."""
    inbox = policy.part(Switches.inbox)(store, republish=queue.publish_again, pen=life.pen)
    handlers = service.handlers()
    if life.faults is not None:
        handlers = life.faults.around_handlers(handlers)
    inner: Handle = Invoke(
        handlers=handlers,
        decode=decode,
        settler=inbox,
        watch=timeout.watch,
        pen=life.pen,
    )
    make_guard = policy.part(Switches.poison_guard)
    if make_guard is not None:
        inner = make_guard(
            inner,
            store=ports.starts,
            gate=SoloGate(),
            solo_starts=policy.settings.number("poison_guard.solo_starts"),
            pen=life.pen,
        )
    inner = _make_dedupe(inbox.link(inner), life, ports, policy, store)
    return _make_retry(inner, life, policy, parking)


def _make_retry(inner: Handle, life: Life, policy: Policy, parking: Parking) -> Handle:
    settings, chance = policy.settings, policy.chance
    return policy.part(Switches.retry)(
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
        pen=life.pen,
    )


def _make_dedupe(
    inner: Handle, life: Life, ports: Ports, policy: Policy, store: OrderStore
) -> Handle:
    settings, make_dedupe = policy.settings, policy.part(Switches.dedupe)
    if make_dedupe is None:
        return inner
    if settings.number("dedupe.phases") == 1:
        return MarkBefore(
            inner,
            store=ports.dedupe,
            owner=life.pen.process,
            window_us=settings.us("dedupe.window_ms"),
            pen=life.pen,
        )
    return make_dedupe(
        inner,
        store=ports.dedupe,
        look=store.outcome,
        owner=life.pen.process,
        lease_us=settings.us("dedupe.lease_ms"),
        window_us=settings.us("dedupe.window_ms"),
        is_open=settings.text("dedupe.when_down") == "open",
        pen=life.pen,
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
        ordering=policy.part(Switches.key_lanes).ordering,
        workers=settings.number("bus.workers"),
        max_in_flight=settings.number("bus.max_in_flight"),
        max_uncommitted=settings.number("bus.max_uncommitted"),
        commit_every=settings.number("bus.commit_every"),
        commit_after_us=settings.us("bus.commit_after_ms"),
        revoke_us=settings.us("drain.grace_ms"),
        rest_us=settings.us("drain.grace_ms") * (100 - DRAIN_PERCENT) // 100,
    )
