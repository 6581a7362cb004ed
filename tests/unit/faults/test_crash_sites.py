"""Injectors: what each does to the port that it wraps, and that an absent fault wraps nothing."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence

import pytest

from lab.domain.envelope import Envelope, to_headers
from lab.domain.order import Order
from lab.faults.bus.records import GARBAGE, DuplicatingConsumer, PoisoningPublisher, drop_acks
from lab.faults.client import ClientInjector
from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.processes.crash_sites import HOOKS, Role
from lab.faults.processes.strikes import ProcessFaults
from lab.faults.provider import ProviderFaults
from lab.faults.requests import App, Receive, Scope, Send
from lab.faults.table.crash_points import CRASH_POINTS
from lab.faults.table.spec import parse_faults
from lab.ports.bus import (
    Ack,
    Consumer,
    Delivery,
    Handle,
    Listener,
    Outgoing,
    Publisher,
    Record,
    Release,
    Retry,
    Settlement,
    TopicPartition,
)
from lab.ports.dedupe import Claim, ClaimState, DedupeStore
from lab.ports.every_call import PortType, awaited_methods
from lab.ports.faults import CallFault, CallFaultKind
from lab.ports.key_retry import KeyRetryStore
from lab.ports.providers import Antifraud, Mailer, PaymentGateway, Warehouse
from lab.ports.store import (
    Committer,
    CustomerStore,
    HttpKeyRow,
    Loaded,
    OrderStore,
    OutboxRow,
    OutboxStore,
    Outcome,
    StartStore,
    Unit,
    UnitVerdict,
)
from lab.runtime.chance import KeyedChance
from lab.runtime.processes import AsyncTasks
from lab.runtime.virtual_loop import Scheduler, sleep_us, suspend

PORTS: Sequence[PortType[object]] = (
    OrderStore,
    OutboxStore,
    StartStore,
    KeyRetryStore,
    CustomerStore,
    DedupeStore,
    Publisher,
    Consumer,
    Warehouse,
    Antifraud,
    PaymentGateway,
    Mailer,
)
"""Those that a process is given with its crash points."""


def make_plan(*texts: str, seed: int = 7, explicit: Sequence[Firing] | None = None) -> FaultPlan:
    plan = FaultPlan(
        parse_faults(texts),
        seed=seed,
        chance=KeyedChance(seed),
        now_us=lambda: 0,
        explicit=explicit,
    )
    plan.begin()
    return plan


def make_envelope(kind: str = "OrderCreated", subject: str = "1.1") -> Envelope:
    return Envelope(
        id=f"{kind}-{subject}",
        type=kind,
        source="lab",
        subject=f"order-{subject}",
        time_us=0,
        data=b"{}",
        correlation_id="c",
        causation_id="c",
        sequence=1,
        traceparent="t",
        lab_subject=subject,
    )


def make_record(offset: int, kind: str = "OrderCreated", subject: str = "1.1") -> Record:
    headers = to_headers(make_envelope(kind, subject))
    return Record("orders", 0, offset, b"k", b"{}", headers, 0)


def make_outgoing(topic: str, kind: str = "OrderCreated", subject: str = "1.1") -> Outgoing:
    return Outgoing(topic, b"k", b"{}", to_headers(make_envelope(kind, subject)))


def make_delivery(subject: str = "1.1") -> Delivery:
    record = make_record(0, subject=subject)
    return Delivery(record, "payment", 1, 1, "OrderCreated", "e", subject, 0, starts_known=False)


class Log(Consumer, Publisher):
    """Records to be polled, and records that were published."""

    def __init__(self, *records: Record) -> None:
        self.records = list(records)
        self.published: list[Outgoing] = []
        self.asked_for: list[int] = []
        self.committed = 0

    async def poll(self, max_records: int) -> list[Record]:
        await suspend()
        self.asked_for.append(max_records)
        handed, self.records = self.records[:max_records], self.records[max_records:]
        return handed

    async def publish(self, records: Sequence[Outgoing]) -> None:
        await suspend()
        self.published.extend(records)

    async def commit(self, offsets: Mapping[TopicPartition, int], epoch: int) -> None:
        assert epoch
        await suspend()
        self.committed += len(offsets)

    async def join(self, topics: Sequence[str], listener: Listener) -> None:
        await listener.on_assigned(1, {TopicPartition(topic, 0): 0 for topic in topics})

    def wake(self) -> None: ...

    def pause(self, partitions: Sequence[TopicPartition]) -> None: ...

    def resume(self, partitions: Sequence[TopicPartition]) -> None: ...

    async def leave(self) -> None:
        await suspend()


class Store(OrderStore):
    """Counts what was committed; nobody looks."""

    def __init__(self, verdict: UnitVerdict = UnitVerdict.COMMITTED) -> None:
        self.verdict = verdict
        self.units: list[Unit] = []

    async def commit(self, unit: Unit) -> UnitVerdict:
        await suspend()
        self.units.append(unit)
        return self.verdict

    async def load(self, order_id: str) -> Loaded | None:
        raise NotImplementedError

    async def outcome(self, group: str, event_id: str) -> tuple[Outcome, int] | None:
        raise NotImplementedError

    async def http_key(self, key: str) -> HttpKeyRow | None:
        raise NotImplementedError

    async def due(self, limit: int) -> Sequence[Order]:
        raise NotImplementedError

    async def of_customer(
        self, customer_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Order]:
        raise NotImplementedError

    async def wait_due(self) -> None:
        raise NotImplementedError


class World:
    """One process that can be killed by its faults."""

    def __init__(self, plan: FaultPlan, role: Role = Role.CONSUMER) -> None:
        self.scheduler = Scheduler()
        self.loop = self.scheduler.process("payment-1#1")
        self.terms = 0
        self.faults = ProcessFaults(
            plan,
            role=role,
            group="payment",
            process="payment-1",
            kill=self.loop.kill,
            term=self._term,
            pause=lambda _for_us: None,
        )

    def _term(self) -> None:
        self.terms += 1

    def survives(self, main: Callable[[], Coroutine[object, object, object]]) -> bool:
        """Run `main` in the process; whether it came to its end."""

        async def root() -> bool:
            task = self.loop.create_task(main())
            await sleep_us(1_000_000)
            if task.done():
                task.result()
            return task.done() and not self.loop.dead

        with self.scheduler:
            return self.scheduler.run(root())


# ---- bus


def polled(consumer: Consumer, max_records: int) -> list[int]:
    with Scheduler() as scheduler:
        return [record.offset for record in scheduler.run(consumer.poll(max_records))]


def test_a_duplicate_comes_right_after_its_record_with_the_same_offset() -> None:
    log = Log(make_record(0), make_record(1, subject="2.1"), make_record(2, subject="3.1"))
    consumer = DuplicatingConsumer(log, plan=make_plan("bus.duplicate#2"), group="validation")

    assert polled(consumer, 10) == [0, 1, 1, 2]


def test_duplicates_never_exceed_what_was_asked_for() -> None:
    log = Log(*(make_record(n, subject=f"{n}.1") for n in range(50)))
    consumer = DuplicatingConsumer(log, plan=make_plan("bus.duplicate rate=1"), group="validation")

    assert [len(polled(consumer, n)) for n in (1, 2, 3, 10)] == [1, 2, 2, 10]


def test_what_the_group_does_not_read_is_not_duplicated() -> None:
    log = Log(make_record(0, kind="OrderConfirmed"), make_record(1))
    plan = make_plan("bus.duplicate rate=1")

    assert polled(DuplicatingConsumer(log, plan=plan, group="validation"), 10) == [0, 1, 1]


def settle(handle: Callable[[Delivery], object], delivery: Delivery) -> Settlement:
    with Scheduler() as scheduler:
        result = handle(delivery)
        assert asyncio.iscoroutine(result)
        settlement = scheduler.run(result)
    assert isinstance(settlement, Ack | Retry | Release)
    return settlement


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        (Ack("handled"), Retry(after_us=30, counts=False)),
        (Ack("unread"), Ack("unread")),
        (Release("busy"), Release("busy")),
        (Retry(after_us=5), Retry(after_us=5)),
    ],
)
def test_a_lost_ack_is_a_retry_after_the_lease_that_counts_no_attempt(
    inner: Settlement, outer: Settlement
) -> None:
    async def chain(_delivery: Delivery) -> Settlement:
        return inner

    plan = make_plan("bus.drop_ack rate=1")
    handle = drop_acks(chain, plan=plan, group="payment", lease_us=30)

    assert settle(handle, make_delivery()) == outer
    assert len(plan.firings) == (inner != outer)


def test_poison_replaces_the_value_and_keeps_key_and_headers() -> None:
    log = Log()
    publisher = PoisoningPublisher(log, plan=make_plan("bus.poison#1"))
    clean = make_outgoing("orders", subject="2.1")

    with Scheduler() as scheduler:
        scheduler.run(publisher.publish([make_outgoing("orders"), clean]))

    poisoned, second = log.published
    assert (poisoned.value, poisoned.key) == (GARBAGE, b"k")
    assert poisoned.headers == make_outgoing("orders").headers
    assert second is clean


def test_a_poisoned_record_that_is_published_again_is_poison_again_and_counted_once() -> None:
    log = Log()
    plan = make_plan("bus.poison rate=0.5")
    publisher = PoisoningPublisher(log, plan=plan)
    records = [make_outgoing("orders", subject=f"{n}.1") for n in range(40)]

    with Scheduler() as scheduler:
        scheduler.run(publisher.publish(records))
        scheduler.run(publisher.publish(records))

    values = [record.value for record in log.published]
    assert values[:40] == values[40:]
    assert len(plan.firings) == values[:40].count(GARBAGE) > 5


def test_only_records_of_main_topics_are_poisoned() -> None:
    log = Log()
    publisher = PoisoningPublisher(log, plan=make_plan("bus.poison rate=1"))
    parked = [make_outgoing(f"orders.validation.{end}") for end in ("retry.1", "dlq")]

    with Scheduler() as scheduler:
        scheduler.run(publisher.publish(parked))

    assert log.published == parked


# ---- third parties


def test_a_call_is_struck_by_the_first_kind_whose_coin_asks_for_it() -> None:
    plan = make_plan("svc.timeout rate=1", "svc.error rate=1 status=429 after=3s")
    fault = ProviderFaults(plan).strike("mailer", "send", "1.1")

    assert fault == CallFault(kind=CallFaultKind.ERROR, status=429, after_us=3_000_000)
    assert [firing.kind for firing in plan.firings] == ["svc.error"]


def test_a_call_counts_for_every_kind_whichever_strikes() -> None:
    plan = make_plan("svc.error nth=1", "svc.timeout nth=2")
    faults = ProviderFaults(plan)

    kinds = [faults.strike("mailer", "send", "1.1") for _ in range(3)]

    assert [fault and fault.kind for fault in kinds] == [
        CallFaultKind.ERROR,
        CallFaultKind.TIMEOUT,
        None,
    ]


def test_only_a_call_that_moves_something_hangs_after_its_effect() -> None:
    faults = ProviderFaults(make_plan("svc.hang_after_effect@payment_gateway#1"))

    assert faults.strike("payment_gateway", "query", "1.1") is None
    assert faults.strike("payment_gateway", "charge", "1.1") is not None


def test_without_faults_of_third_parties_none_are_wanted() -> None:
    assert not ProviderFaults.is_wanted(make_plan("bus.duplicate rate=1"))
    assert ProviderFaults.is_wanted(make_plan("svc.error@mailer rate=0.1"))


# ---- clients


def test_a_client_does_what_the_plan_asks_for_this_order() -> None:
    faults = ClientInjector(
        make_plan("client.retry_same_key#1", "client.double_submit#2", "client.cancel#3 after=5ms")
    )

    orders = ["1.1", "2.1", "3.1"]
    assert [faults.retries_same_key(order) for order in orders] == [True, False, False]
    assert [faults.double_submits(order) for order in orders] == [False, True, False]
    assert [faults.cancels(order) for order in orders] == [None, None, (5_000, 1, 0, "none", False)]


# ---- processes


def consume(world: World, *, chain: Handle) -> Callable[[], Coroutine[object, object, None]]:
    """One delivery through the process's outermost link."""
    handle = world.faults.around_handle(chain)

    async def main() -> None:
        await handle(make_delivery())

    return main


@pytest.mark.parametrize(
    ("point", "committed"), [("handler.before_commit", 0), ("handler.after_commit", 1)]
)
def test_a_crash_point_at_a_commit_kills_on_its_side_of_it(point: str, committed: int) -> None:
    plan = make_plan(f"proc.crash@{point}#1")
    world = World(plan)
    store = Store()
    port = world.faults.around(OrderStore, store)

    async def chain(_delivery: Delivery) -> Settlement:
        await port.commit(Unit(by="payment", settles=True))
        return Ack()

    assert not world.survives(consume(world, chain=chain))
    assert len(store.units) == committed
    assert [(f.site, f.subject, f.occurrence) for f in plan.firings] == [(point, "1.1", 1)]


def test_no_crash_point_of_the_handler_lies_at_an_intermediate_commit() -> None:
    plan = make_plan(
        "proc.crash@handler.before_commit rate=1", "proc.crash@handler.after_commit rate=1"
    )
    world = World(plan)
    port = world.faults.around(OrderStore, Store())

    async def chain(_delivery: Delivery) -> Settlement:
        await port.commit(Unit(by="payment", settles=False))
        return Ack()

    assert world.survives(consume(world, chain=chain))


def test_no_crash_lies_after_a_commit_that_did_not_happen() -> None:
    world = World(make_plan("proc.crash@handler.after_commit rate=1"))
    port = world.faults.around(OrderStore, Store(UnitVerdict.CONFLICT))

    async def chain(_delivery: Delivery) -> Settlement:
        await port.commit(Unit(by="payment", settles=True))
        return Ack()

    assert world.survives(consume(world, chain=chain))


@pytest.mark.parametrize(("point", "count"), [("api.before_commit", 0), ("api.after_commit", 1)])
def test_the_api_dies_at_the_commit_of_a_request(point: str, count: int) -> None:
    world = World(make_plan(f"proc.crash@{point}#1"), Role.API)
    store = Store()
    port = world.faults.around(OrderStore, store)

    async def main() -> None:
        await port.commit(Unit(by="api", lab_subject="1.1"))

    assert not world.survives(main)
    assert len(store.units) == count


@pytest.mark.parametrize(
    ("point", "topic", "published"),
    [
        ("retry.after_publish", "orders.validation.retry.1", 1),
        ("dlq.before_publish", "orders.validation.dlq", 0),
        ("dlq.after_publish", "orders.validation.dlq", 1),
    ],
)
def test_a_consumer_dies_at_the_publish_that_parks_a_record(
    point: str, topic: str, published: int
) -> None:
    world = World(make_plan(f"proc.crash@{point}#1"))
    log = Log()
    port = world.faults.around(Publisher, log)

    async def main() -> None:
        await port.publish([make_outgoing("orders.validation.other")])
        await port.publish([make_outgoing(topic)])

    assert not world.survives(main)
    assert len(log.published) == 1 + published


def test_the_relay_dies_between_publish_and_mark() -> None:
    world = World(make_plan("proc.crash@relay.after_publish#2"), Role.RELAY)
    log = Log()
    port = world.faults.around(Publisher, log)

    async def main() -> None:
        await port.publish([make_outgoing("orders", subject=f"{n}.1") for n in (1, 2, 3)])

    assert not world.survives(main)
    assert len(log.published) == 3


class Rows(OutboxStore):
    """The relay's side of an outbox of one row."""

    async def unpublished(self, shard: int, limit: int) -> Sequence[OutboxRow]:
        assert shard < limit
        await suspend()
        return [OutboxRow(1, make_envelope())]

    async def mark_published(self, rows: Sequence[OutboxRow]) -> None:
        assert rows
        await suspend()

    async def own_shard(self) -> int | None:
        raise NotImplementedError

    async def wait_shard(self) -> None:
        raise NotImplementedError

    async def wait_unpublished(self, shard: int) -> None:
        raise NotImplementedError


def test_the_relay_dies_with_rows_in_its_hand() -> None:
    world = World(make_plan("proc.crash@relay.after_claim#1"), Role.RELAY)
    port = world.faults.around(OutboxStore, Rows())

    async def main() -> None:
        await port.unpublished(0, 9)

    assert not world.survives(main)


def test_a_consumer_dies_with_fetched_records_in_its_hand() -> None:
    world = World(make_plan("proc.crash@consumer.after_fetch#2"))
    log = Log(make_record(0), make_record(1, subject="2.1"))
    port = world.faults.around(Consumer, log)

    async def main() -> None:
        await port.poll(10)

    assert not world.survives(main)
    assert log.records == []


class Claims(DedupeStore):
    """Gives one answer to every claim."""

    def __init__(self, state: ClaimState) -> None:
        self.state = state

    async def claim(self, group: str, event_id: str, *, owner: str, lease_us: int) -> Claim:
        assert group, (event_id, owner, lease_us)
        await suspend()
        return Claim(self.state, 1)

    async def complete(
        self, group: str, event_id: str, *, owner: str, fence: int, window_us: int
    ) -> bool:
        raise NotImplementedError

    async def release(self, group: str, event_id: str, *, owner: str, fence: int) -> bool:
        raise NotImplementedError


@pytest.mark.parametrize(("state", "survives"), [("acquired", False), ("busy", True)])
def test_a_crash_after_a_claim_needs_a_claim(state: str, survives: bool) -> None:  # noqa: FBT001 - a parameter of the test
    world = World(make_plan("proc.crash@dedupe.after_claim rate=1"))
    port = world.faults.around(DedupeStore, Claims(ClaimState(state)))

    async def chain(_delivery: Delivery) -> Settlement:
        await port.claim("payment", "e", owner="o", lease_us=1)
        return Ack()

    assert world.survives(consume(world, chain=chain)) is survives


class Mails(Mailer):
    """Counts mails."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, order_id: str, *, key: str, template: str, deadline_us: int) -> None:
        assert order_id, (key, template, deadline_us)
        await suspend()
        self.sent += 1


@pytest.mark.parametrize(("point", "sent"), [("before", 0), ("after", 1)])
def test_a_handler_dies_on_either_side_of_its_effect(point: str, sent: int) -> None:
    world = World(make_plan(f"proc.crash@handler.{point}_effect#1"))
    mails = Mails()
    port = world.faults.around(Mailer, mails)

    async def chain(_delivery: Delivery) -> Settlement:
        await port.send("o", key="k", template="t", deadline_us=1)
        return Ack()

    assert not world.survives(consume(world, chain=chain))
    assert mails.sent == sent


def test_after_the_ack_the_delivery_is_settled_before_the_process_dies() -> None:
    world = World(make_plan("proc.crash@handler.after_ack#1"))
    settled: list[Settlement] = []

    async def chain(_delivery: Delivery) -> Settlement:
        await suspend()
        return Ack()

    handle = world.faults.around_handle(chain)

    async def worker() -> None:
        settled.append(await handle(make_delivery()))
        await suspend()
        await suspend()
        settled.append(Ack("the process went on"))

    assert not world.survives(worker)
    assert settled == [Ack()]


def test_a_draining_process_dies_before_it_commits_its_offsets() -> None:
    world = World(make_plan("proc.crash@shutdown.mid_drain rate=1"))
    log = Log()
    port = world.faults.around(Consumer, log)
    offsets = {TopicPartition("orders", 0): 3}

    async def main() -> None:
        await port.commit(offsets, 1)
        world.faults.begin_drain()
        await port.commit(offsets, 1)

    assert not world.survives(main)
    assert log.committed == 1


def crash_boundary(seed: int) -> tuple[int, int]:
    """How many port calls began and ended before `any` killed a delivery that makes many."""
    world = World(make_plan("proc.crash@any#1", seed=seed))
    store = Store()
    port = world.faults.around(OrderStore, store)
    begun = 0

    async def chain(_delivery: Delivery) -> Settlement:
        nonlocal begun
        for _ in range(20):
            begun += 1
            await port.commit(Unit())
        return Ack()

    assert not world.survives(consume(world, chain=chain))
    return begun, len(store.units)


def test_any_kills_before_or_after_any_port_call_of_a_delivery() -> None:
    found = {crash_boundary(seed) for seed in range(150)}

    assert {begun for begun, _ in found} == set(range(1, 13))
    assert {begun - ended for begun, ended in found} == {0, 1}


def test_any_kills_work_of_few_calls_at_its_end() -> None:
    plan = make_plan("proc.crash@any#1")
    world = World(plan)

    async def chain(_delivery: Delivery) -> Settlement:
        return Ack()

    handle = world.faults.around_handle(chain)

    async def main() -> None:
        await handle(make_delivery())
        await sleep_us(10)

    assert not world.survives(main)
    assert len(plan.firings) == 1


def test_any_counts_calls_that_run_side_by_side() -> None:
    world = World(make_plan("proc.crash@any#1"))
    port = world.faults.around(OrderStore, Store())

    async def call() -> UnitVerdict:
        return await port.commit(Unit())

    async def chain(_delivery: Delivery) -> Settlement:
        for _ in range(20):
            await AsyncTasks().together([call, call], until=lambda _: False)
        raise AssertionError("forty calls have eighty boundaries")

    assert not world.survives(consume(world, chain=chain))


def test_a_doomed_delivery_is_saved_by_healing() -> None:
    plan = make_plan("proc.crash@any#1")
    world = World(plan)
    port = world.faults.around(OrderStore, Store())

    async def chain(_delivery: Delivery) -> Settlement:
        plan.heal()
        for _ in range(30):
            await port.commit(Unit())
        return Ack()

    assert world.survives(consume(world, chain=chain))
    assert plan.firings == []


def app_of(port: Committer) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await port.commit(Unit())
        await send({"type": "http.response.start", "status": scope["status"]})

    return app


@pytest.mark.parametrize(("subject", "survives"), [(b"1.1", False), (b"2.1", True)])
def test_any_kills_the_api_within_a_request_of_the_chosen_order(
    subject: bytes,
    survives: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    world = World(make_plan("proc.crash@any#1"), Role.API)
    app = world.faults.around_app(app_of(world.faults.around(OrderStore, Store())))
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {}

    async def main() -> None:
        await app({"headers": [(b"lab-subject", subject)], "status": 201}, receive, send)

    assert world.survives(main) is survives


def test_any_kills_the_relay_within_a_batch() -> None:
    world = World(make_plan("proc.crash@any#1"), Role.RELAY)
    outbox = world.faults.around(OutboxStore, Rows())
    log = world.faults.around(Publisher, Log())

    async def main() -> None:
        rows = await outbox.unpublished(0, 9)
        await log.publish([make_outgoing("orders")])
        await outbox.mark_published(rows)

    assert not world.survives(main)


def test_a_crash_of_an_explicit_plan_falls_on_the_same_boundary() -> None:
    def run(plan: FaultPlan) -> int:
        world = World(plan)
        store = Store()
        port = world.faults.around(OrderStore, store)

        async def chain(_delivery: Delivery) -> Settlement:
            for _ in range(30):
                await port.commit(Unit())
            return Ack()

        assert not world.survives(consume(world, chain=chain))
        return len(store.units)

    first = make_plan("proc.crash@any rate=1", seed=11)

    assert run(first) == run(make_plan(seed=11, explicit=first.firings))


def test_a_process_is_told_to_stop_when_a_delivery_begins() -> None:
    world = World(make_plan("proc.term@payment rate=1 max=1"))

    async def chain(_delivery: Delivery) -> Settlement:
        assert world.terms == 1
        return Ack()

    assert world.survives(consume(world, chain=chain))


@pytest.mark.parametrize("role", list(Role))
def test_ports_without_a_wanted_point_are_not_wrapped(role: Role) -> None:
    world = World(make_plan("svc.error rate=1", "proc.term@orders at=1s"), role)
    store, log = Store(), Log()

    async def chain(_delivery: Delivery) -> Settlement:
        return Ack()

    app = app_of(store)
    assert world.faults.around(OrderStore, store) is store
    assert world.faults.around(Consumer, log) is log
    assert world.faults.around_handle(chain) is chain
    assert world.faults.around_app(app) is app


@pytest.mark.parametrize("point", list(dict.fromkeys(hook.point for hook in HOOKS)))
def test_a_wanted_point_wraps_only_the_ports_it_lies_at(point: str) -> None:
    assert point in CRASH_POINTS
    for role in Role:
        world = World(make_plan(f"proc.crash@{point} rate=1"), role)
        lies = {hook.port for hook in HOOKS if hook.point == point and hook.role is role}
        for port in PORTS:
            assert isinstance(port, type)
            inner: object = type("Inner", (port,), {})()
            assert (world.faults.around(port, inner) is not inner) == (port in lies)


def test_every_point_lies_at_a_call_that_its_port_has() -> None:
    nowhere = [hook for hook in HOOKS if hook.method not in awaited_methods(hook.port)]

    assert nowhere == []
