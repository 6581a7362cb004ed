"""Puts the faults of the bus that a run wants around the ports of one process life.

Not here: the wrappers (`records.py`, `order.py`, `member.py`, `publishes.py`), and the links around
the chain (`records.py`).
"""

from lab.faults.bus.member import (
    REBALANCE,
    CutConsumer,
    CutPublisher,
    Network,
    RebalancingConsumer,
)
from lab.faults.bus.order import REORDER, ReorderingConsumer
from lab.faults.bus.publishes import DROP, UNKNOWN, DroppingPublisher, ForgettingPublisher
from lab.faults.bus.records import DuplicatingConsumer, PoisoningPublisher
from lab.faults.plan.plan import FaultPlan
from lab.ports.bus import Consumer, Publisher
from lab.ports.clock import Clock


def around_consumer(
    consumer: Consumer,
    *,
    plan: FaultPlan,
    group: str,
    clock: Clock,
    network: Network | None,
    session_us: int,
) -> Consumer:
    """A member of `group` with the faults that the run wants; `consumer` itself without any.

    `network` belongs to this process life, which shares it with its publisher; None if nothing cuts
    it. After `session_us` of silence the group goes on without a member.
    """
    if network is not None:
        consumer = CutConsumer(
            consumer, plan=plan, group=group, clock=clock, network=network, session_us=session_us
        )
    if plan.wants(REBALANCE, group):
        consumer = RebalancingConsumer(consumer, plan=plan, group=group, clock=clock)
    if plan.wants(REORDER, group):
        consumer = ReorderingConsumer(consumer, plan=plan, group=group, clock=clock)
    if plan.wants("bus.duplicate", group):
        consumer = DuplicatingConsumer(consumer, plan=plan, group=group)
    return consumer


def around_publisher(
    publisher: Publisher, *, plan: FaultPlan, clock: Clock, network: Network | None
) -> Publisher:
    """A process's publisher with the faults that the run wants; see `around_consumer`."""
    if network is not None:
        publisher = CutPublisher(publisher, network)
    if plan.wants(DROP):
        publisher = DroppingPublisher(publisher, plan=plan, clock=clock)
    if plan.wants(UNKNOWN):
        publisher = ForgettingPublisher(publisher, plan=plan, clock=clock)
    if plan.wants("bus.poison"):
        publisher = PoisoningPublisher(publisher, plan=plan)
    return publisher
