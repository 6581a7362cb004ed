# ruff: noqa: FBT003 - the fields of an entry are what they are
"""Histories made by hand: a healthy order on its way through the system, and ways to spoil it.

Entries are written as the parts of the lab write them. `Story` keeps offsets and times; `HEALTHY`
makes one for each thing that can happen to an order. A planted bug edits the entries of a healthy
story and says nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from lab.checks.check import Finding
from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.history.calls import SettleEntry
from lab.history.contents import NO_TIME
from lab.history.entries import FIELDS, Entry, as_dict, kind_of, time_of
from lab.history.recorder import BATCH
from tests.kit.entries import of_type

MS: Final = 1_000
S: Final = 1_000_000

CONTRACT: Final = Contract(
    attempts_max=6,
    base_us=100 * MS,
    cap_us=2 * S,
    tiers_us=(5 * S, 30 * S, 120 * S),
    budget_tokens=10,
    budget_refill=0.1,
    handler_us=10 * S,
    provider_us=2 * S,
    workers=16,
    max_in_flight=256,
    window_us=3_600 * S,
    stop_us=13 * S,
    breaker_window_us=10 * S,
    breaker_calls_min=10,
)

TOPICS: Final = {
    "OrderCreated": "orders",
    "OrderValidated": "validation",
    "PaymentCaptured": "payments",
    "OrderConfirmed": "orders",
    "OrderCancelled": "orders",
    "OrderExpired": "orders",
    "RefundRequested": "payments",
    "PaymentRefunded": "payments",
}
OWNED: Final = ("orders", "validation", "payments")
STATE_EVENTS: Final = {
    "PENDING": "OrderCreated",
    "VALIDATED": "OrderValidated",
    "PAID": "PaymentCaptured",
    "CONFIRMED": "OrderConfirmed",
    "CANCELLED": "OrderCancelled",
    "EXPIRED": "OrderExpired",
    "REFUND_PENDING": "RefundRequested",
    "REFUNDED": "PaymentRefunded",
}
CAUSES: Final = {
    "OrderValidated": "OrderCreated",
    "PaymentCaptured": "OrderValidated",
    "OrderConfirmed": "PaymentCaptured",
    "RefundRequested": "OrderValidated",
    "PaymentRefunded": "RefundRequested",
}
"""The event that led to each; the others have their order as their cause."""

TEMPLATES: Final = {
    "OrderCreated": "received",
    "OrderConfirmed": "confirmed",
    "OrderCancelled": "cancelled",
    "OrderExpired": "expired",
    "PaymentRefunded": "refunded",
}

AMOUNT: Final = 1_020
CUSTOMER: Final = "C-1"
ITEMS: Final = "items"
ASKED: Final = (AMOUNT, "EUR", "buyer", ITEMS, CUSTOMER)
"""Amount, currency, buyer, items and customer of every order."""


class Story:
    """Entries in the order in which a run of the lab would write them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.t_us = 0
        self._offsets: dict[str, int] = {}
        self._where: dict[str, tuple[str, int]] = {}
        self._committed_us: dict[tuple[str, str], int] = {}
        self._fences = 0
        self._committed: dict[tuple[str, str, int], int] = {}

    def write(self, kind: str, process: str, subject: str, *fields: object) -> None:
        """One entry, a millisecond after the one before."""
        self.t_us += MS
        self.entries.append((kind, self.t_us, process, subject, *fields))

    def wait(self, us: int) -> None:
        """Nothing happens for so long."""
        self.t_us += us

    # ---- the client and the API

    def ask(self, subject: str, *, key: str = "", body: str = "b0", status: int = 201) -> None:
        """A request and its answer; 2xx ones create the order."""
        send = int(subject.partition(".")[2])
        key = key or f"key-{subject}"
        self.write("http.begin", "client", subject, "create", key, body, send, *ASKED)
        answer = ""
        if status < 300:
            answer = f"id-{subject}"
            self.write("commit.begin", "api-1", subject, "api", "", False)
            self.row(subject, 1, "PENDING")
            self.write("http_key", "store", subject, key, body, status)
            self.write("commit.end", "api-1", subject, "api", "", False, "committed")
        problem = "" if status < 300 else "invalid"
        fields = ("create", key, body, send, status, problem, answer, f"a-{answer}", False)
        self.write("http.end", "client", subject, *fields)
        if status < 300:
            self.publish(subject, "OrderCreated")

    def cancel(self, subject: str, version: int) -> None:
        """The client cancels, and may."""
        self.write("http.begin", "client", subject, "cancel", "", "", 1, 0, "", "", "", "")
        self.row(subject, version, "CANCELLED")
        fields = ("cancel", "", "", 1, 200, "", f"id-{subject}", f"c-{subject}", False)
        self.write("http.end", "client", subject, *fields)
        self.publish(subject, "OrderCancelled")

    # ---- facts

    def row(self, subject: str, version: int, state: str) -> None:
        """A committed change."""
        kind = STATE_EVENTS[state]
        fields = (version, state, event_id(subject, kind), kind, "EUR", AMOUNT, "buyer", "")
        self.write("row", "store", subject, *fields)
        self._committed_us.setdefault((subject, kind), self.t_us)

    def publish(self, subject: str, kind: str) -> None:
        """The relay publishes an event."""
        topic, event = TOPICS[kind], event_id(subject, kind)
        causes = (cause_id(subject, kind),)
        self.write("publish.begin", "relay-1", subject, topic, (event,), causes, (subject,))
        self.append(subject, kind, topic)
        self._where[event] = (topic, self._offsets[topic] - 1)
        self.write("publish.end", "relay-1", subject, topic, (event,), "ok")

    def append(self, subject: str, kind: str, topic: str, attempt: int = 0) -> int:
        """A record stands in a topic; returns its offset."""
        offset = self._offsets.get(topic, 0)
        self._offsets[topic] = offset + 1
        event = event_id(subject, kind)
        fields = (event, kind, digest(event), attempt, traceparent(subject, kind))
        cause = cause_id(subject, kind)
        told = (*contents(subject, kind), *self._told_times(subject, kind, topic))
        self.write("appended", "bus", subject, topic, 0, offset, *fields, cause, *told)
        return offset

    def _told_times(self, subject: str, kind: str, topic: str) -> tuple[int, int]:
        """When an event was decided: at its commit; and when its order expires."""
        if "." in topic:
            return NO_TIME, NO_TIME
        decided_us = self._committed_us.get((subject, kind), self.t_us)
        if kind != "OrderValidated":
            return decided_us, NO_TIME
        return decided_us, self._committed_us[subject, "OrderCreated"] + CONTRACT.expiry_us

    def letter(
        self, subject: str, group: str, kind: str, reason: str, *, attempts: int = 1
    ) -> None:
        """The headers of a dead letter that was appended."""
        topic = f"{TOPICS[kind]}.{group}.dlq"
        fields = (topic, group, event_id(subject, kind), reason, attempts, 0, 0)
        self.write("letter", "bus", subject, *fields)

    def money(self, subject: str, action: str, key: str, about: str = "") -> None:
        """A line of the payment gateway's ledger."""
        fields = ("payment_gateway", action, key, about, AMOUNT, "EUR")
        self.write("ledger", "ledger", subject, *fields)

    def mail(self, subject: str, kind: str) -> None:
        """A call to the mailer, and the line of its ledger."""
        key = event_id(subject, kind)
        self.call("notification-1", subject, "mailer", "send", key)
        self.write("ledger", "ledger", subject, "mailer", "mail", key, TEMPLATES[kind], 0, "")

    # ---- a process

    def life(self, process: str, event: str) -> None:
        """Something happens to a process."""
        self.write("life", process, "", event)

    def owned(self, process: str, epoch: int) -> None:
        """A member is given its partitions."""
        group = process.partition("-")[0]
        partitions = tuple(f"{topic}/{partition}" for topic in OWNED for partition in range(8))
        self.write("owned", process, "", group, epoch, partitions)

    def call(
        self,
        process: str,
        subject: str,
        provider: str,
        action: str,
        key: str = "",
        *,
        result: str = "ok",
        took_us: int = 20 * MS,
        hint_us: int = 0,
    ) -> None:
        """A call to a third party."""
        deadline_us = self.t_us + 2 * S
        self.write("call.begin", process, subject, provider, action, key, deadline_us)
        self.wait(took_us - MS)
        late_us = max(self.t_us + MS - deadline_us, 0)
        fields = (provider, action, key, result, late_us, took_us, hint_us)
        self.write("call.end", process, subject, *fields)

    def deliver(
        self, process: str, subject: str, kind: str, *, attempt: int = 1, epoch: int = 1
    ) -> tuple[object, ...]:
        """A record is handed over; returns the fields that its settlement begins with."""
        event = event_id(subject, kind)
        topic, offset = self._where[event]
        place = (process.partition("-")[0], topic, 0, offset, epoch, event)
        self.write("deliver", process, subject, *place, kind, attempt, digest(event))
        return place

    def settle(
        self,
        process: str,
        subject: str,
        place: tuple[object, ...],
        how: str = "ack",
        why: str = "handled",
        after_us: int = 0,
    ) -> None:
        """The delivery is settled."""
        self.write("settle", process, subject, *place, how, why, after_us)

    def run(
        self,
        process: str,
        subject: str,
        kind: str,
        work: Callable[[], None] = lambda: None,
        *,
        version: int = 1,
        attempt: int = 1,
        result: str = "ok",
        epoch: int = 1,
    ) -> None:
        """A delivery with claim, handler and commit; `work` is done inside of the commit."""
        group, event = process.partition("-")[0], event_id(subject, kind)
        place = self.deliver(process, subject, kind, attempt=attempt, epoch=epoch)
        self._fences += 1
        self.write("claim", process, "", group, event, "acquired", self._fences)
        run = {"version": version, "attempt": attempt, "epoch": epoch}
        self.handle(process, subject, kind, work, result=result, **run)
        if result == "ok":
            self.write("complete", process, "", group, event, self._fences, True)
            self.settle(process, subject, place)
        else:
            self.write("unclaim", process, "", group, event, self._fences, True)

    def handle(
        self,
        process: str,
        subject: str,
        kind: str,
        work: Callable[[], None] = lambda: None,
        *,
        version: int = 1,
        attempt: int = 1,
        result: str = "ok",
        epoch: int = 1,
    ) -> None:
        """A run of a handler; if it ends well it commits."""
        group, event = process.partition("-")[0], event_id(subject, kind)
        fields = (group, event, kind, attempt, version, self.t_us + 10 * S, TOPICS[kind])
        self.write("handle.begin", process, subject, *fields, epoch, digest(event), 0)
        if result == "ok":
            self.write("commit.begin", process, subject, group, event, True)
            work()
            self.write("outcome", "store", subject, group, event, "done", 0)
            self.write("commit.end", process, subject, group, event, True, "committed")
        self.write("handle.end", process, subject, group, event, kind, attempt, result, 0)

    def skip(self, process: str, subject: str, kind: str) -> None:
        """A delivery that the group does not read."""
        self.settle(process, subject, self.deliver(process, subject, kind), why="unread")

    # ---- the way of an order

    def validate(self, subject: str) -> None:
        """The validation service has no objection."""
        self.call("validation-1", subject, "warehouse", "in_stock")
        self.agree(subject)
        self.run("validation-1", subject, "OrderCreated", lambda: self.row(subject, 2, "VALIDATED"))
        self.publish(subject, "OrderValidated")

    def agree(self, subject: str) -> None:
        """Warehouse, antifraud and the customer's record have no objection."""
        self.write("answered", "ledger", subject, "warehouse", "in_stock", "", ITEMS, 0, "ok")
        fraud = ("antifraud", "is_fraud", CUSTOMER, "", AMOUNT, "ok")
        self.write("answered", "ledger", subject, *fraud)
        read = ("customers", "is_blocked", CUSTOMER, "no", 0, 20 * MS, 0)
        self.write("call.end", "validation-1", subject, *read)

    def receive(self, subject: str) -> None:
        """The mail that says that the order was received."""
        self.run(
            "notification-1", subject, "OrderCreated", lambda: self.mail(subject, "OrderCreated")
        )

    def inform(self, subject: str, kind: str, version: int) -> None:
        """The mail about an event."""
        work = partial(self.mail, subject, kind)
        self.run("notification-1", subject, kind, work, version=version)

    def charge(self, subject: str) -> None:
        """The payment service captures the money."""

        def work() -> None:
            self.intent(subject, "open", "charge", "VALIDATED")
            self.call("payment-1", subject, "payment_gateway", "charge", charge_key(subject))
            self.money(subject, "capture", charge_key(subject))
            self.row(subject, 3, "PAID")
            self.intent(subject, "close", "charge", "VALIDATED")

        self.run("payment-1", subject, "OrderValidated", work, version=2)
        self.publish(subject, "PaymentCaptured")

    def intent(self, subject: str, op: str, kind: str, state: str) -> None:
        """A step of an intent."""
        self.write("intent", "store", subject, op, kind, 1, charge_key(subject), AMOUNT, state)

    def confirm(self, subject: str) -> None:
        """The order is confirmed, the customer told, the revenue counted."""
        self.run(
            "orders-1",
            subject,
            "PaymentCaptured",
            lambda: self.row(subject, 4, "CONFIRMED"),
            version=3,
        )
        self.publish(subject, "OrderConfirmed")

        def work() -> None:
            self.mail(subject, "OrderConfirmed")
            event = event_id(subject, "OrderConfirmed")
            self.write("revenue", "store", subject, "notification", event, "EUR", AMOUNT)

        self.run("notification-1", subject, "OrderConfirmed", work, version=4)
        self.skip("validation-1", subject, "OrderConfirmed")

    def order(self, subject: str) -> None:
        """One order, from its request to its last mail."""
        self.ask(subject)
        self.validate(subject)
        self.receive(subject)
        self.charge(subject)
        self.confirm(subject)

    def end(self, **left: int) -> list[Entry]:
        """The end of the run: everything is committed, nothing is left."""
        self.commit_all()
        self.write("phase", "run", "", "heal")
        self.write("phase", "run", "", "drain")
        what = {"outbox": 0, "lag": 0, "waiting": 0, "lease": 0, **left}
        for name, count in what.items():
            self.write("left", "run", "", name, count)
        self.write("phase", "run", "", "end")
        return self.entries

    def commit_all(self, epoch: int = 1) -> None:
        """Every group commits what it has acknowledged."""
        high: dict[tuple[str, str, int], tuple[int, str]] = {}
        for settled in of_type(self.entries, SettleEntry):
            if settled.settlement == "ack":
                place = (settled.group, settled.topic, settled.partition)
                before, _ = high.get(place, (0, ""))
                high[place] = (max(before, settled.offset + 1), settled.process)
        for place, (acked, process) in high.items():
            offset = self._committed[place] = max(acked, self._committed.get(place, 0))
            self.write("position", process, "", *place, offset, epoch)
            self.write("committed", "bus", "", *place, offset, epoch, True)


def event_id(subject: str, kind: str) -> str:
    """The id of an order's event."""
    return f"{kind}:{subject}"


def contents(subject: str, kind: str) -> tuple[object, ...]:
    """Amount, currency, buyer, items, order and charge, as an order's event tells of them."""
    tells_amount = kind not in ("OrderCancelled", "OrderExpired", "PaymentRefunded")
    money = (AMOUNT, "EUR") if tells_amount else (0, "")
    whose = ("buyer", "items") if kind == "OrderCreated" else ("", "")
    tells_charge = kind in ("PaymentCaptured", "RefundRequested", "PaymentRefunded")
    return (*money, *whose, f"id-{subject}", charge_key(subject) if tells_charge else "")


def digest(event: str) -> str:
    """The digest of the records of an event."""
    return f"d-{event}"


def cause_id(subject: str, kind: str) -> str:
    """The cause of an order's event."""
    return event_id(subject, CAUSES[kind]) if kind in CAUSES else f"id-{subject}"


def traceparent(subject: str, kind: str) -> str:
    """The place of an order's event in the order's trace."""
    ordinal, send = map(int, subject.split("."))
    return f"00-{ordinal:016x}{send:016x}-{event_id(subject, kind)[:16]}-01"


def charge_key(subject: str) -> str:
    """The provider key of an order's charge."""
    return f"charge:id-{subject}:1"


# ---- healthy stories: in each, what some promise is about has happened


def plain() -> list[Entry]:
    """Three orders to which nothing happens."""
    story = Story()
    for process in ("validation-1", "payment-1", "orders-1", "notification-1"):
        story.life(process, "start")
        story.owned(process, 1)
    for subject in ("1.1", "2.1", "37.1"):
        story.order(subject)
    return story.end()


def refused() -> list[Entry]:
    """An order that is refused, and one that is not."""
    story = Story()
    story.ask("36.1", status=422)
    story.order("37.1")
    return story.end()


def repeated_request() -> list[Entry]:
    """The client sends an answered request again, and gets the same answer."""
    story = Story()
    story.order("37.1")
    story.write("http.begin", "client", "37.100", "create", "key-37.1", "b0", 100, *ASKED)
    fields = ("create", "key-37.1", "b0", 100, 201, "", "id-37.1", "a-id-37.1", False)
    story.write("http.end", "client", "37.100", *fields)
    return story.end()


def cancelled() -> list[Entry]:
    """The customer cancels while the payment runs: the money is given back."""
    story, subject = Story(), "37.1"
    story.ask(subject)
    story.validate(subject)
    story.receive(subject)
    story.intent(subject, "open", "charge", "VALIDATED")
    story.call("payment-1", subject, "payment_gateway", "charge", charge_key(subject))
    story.money(subject, "capture", charge_key(subject))
    story.cancel(subject, 3)

    def ask_for_refund() -> None:
        story.row(subject, 4, "REFUND_PENDING")
        story.intent(subject, "close", "charge", "CANCELLED")

    story.run("payment-1", subject, "OrderValidated", ask_for_refund, version=2)
    story.publish(subject, "RefundRequested")

    def refund() -> None:
        story.intent(subject, "open", "refund", "REFUND_PENDING")
        story.money(subject, "refund", f"refund:{charge_key(subject)}:1", charge_key(subject))
        story.row(subject, 5, "REFUNDED")
        story.intent(subject, "close", "refund", "REFUND_PENDING")

    story.run("payment-1", subject, "RefundRequested", refund, version=4)
    story.publish(subject, "PaymentRefunded")
    story.inform(subject, "OrderCancelled", 3)
    story.skip("notification-1", subject, "RefundRequested")
    story.inform(subject, "PaymentRefunded", 5)
    return story.end()


def duplicate() -> list[Entry]:
    """A record comes twice, and the second delivery is suppressed."""
    story, subject = Story(), "37.1"
    story.order(subject)
    place = story.deliver("payment-1", subject, "OrderValidated")
    event = event_id(subject, "OrderValidated")
    story.write("claim", "payment-1", "", "payment", event, "done", 0)
    story.write("acted", "payment-1", subject, "dedupe", "suppressed")
    story.settle("payment-1", subject, place, why="done")
    return story.end()


def retried() -> list[Entry]:
    """Two attempts fail: one is repeated in place, one through a retry topic."""
    story, subject, kind = Story(), "37.1", "OrderCreated"
    process, event = "validation-1", event_id("37.1", "OrderCreated")
    story.ask(subject)
    place = story.deliver(process, subject, kind)
    story.call(process, subject, "warehouse", "in_stock", result="Transient")
    story.handle(process, subject, kind, result="Transient")
    retry = ("validation", event, 1, "Transient", "in_place", 80 * MS)
    story.write("retrying", process, subject, *retry)
    story.settle(process, subject, place, "retry", "", 80 * MS)
    story.wait(80 * MS)
    place = story.deliver(process, subject, kind, attempt=2)
    story.handle(process, subject, kind, attempt=2, result="Transient")
    retry = ("validation", event, 2, "Transient", "tier.1", 5 * S)
    story.write("retrying", process, subject, *retry)
    story.write("waiting", "store", subject, "add", "validation", event, False)
    story.append(subject, kind, "orders.validation.retry.1", 3)
    story.settle(process, subject, place, why="parked")
    story.wait(5 * S)
    alarm = ("validation", "orders.validation.retry.1", 0, 0, 1, event)
    story.write("deliver", process, subject, *alarm, kind, 1, digest(event))
    story.agree(subject)
    story.handle(process, subject, kind, lambda: story.row(subject, 2, "VALIDATED"), attempt=3)
    story.write("waiting", "store", subject, "remove", "validation", event, False)
    story.settle(process, subject, alarm)
    story.publish(subject, "OrderValidated")
    story.receive(subject)
    story.charge(subject)
    story.confirm(subject)
    return story.end()


def buried() -> list[Entry]:
    """A record that nobody can read is parked, and its order with it."""
    story, subject, kind = Story(), "37.1", "OrderCreated"
    event = event_id(subject, kind)
    story.ask(subject)
    story.write("fault", "run", subject, "bus.poison", kind, 1, 0)
    for process in ("validation-1", "notification-1"):
        group = process.partition("-")[0]
        place = story.deliver(process, subject, kind)
        story.write("outcome", "store", subject, group, event, "dead", 0)
        story.append(subject, kind, f"orders.{group}.dlq", 1)
        story.letter(subject, group, kind, "poison")
        story.write("buried", process, subject, group, event, "poison", 1, 0, 0)
        story.settle(process, subject, place, why="dead")
    return story.end()


def expired() -> list[Entry]:
    """Nobody can charge an order; its time is up, and the timer ends it."""
    story, subject, kind = Story(), "37.1", "OrderValidated"
    story.ask(subject)
    story.validate(subject)
    story.receive(subject)
    place = story.deliver("payment-1", subject, kind)
    call = ("payment-1", subject, "payment_gateway", "charge", charge_key(subject))
    story.intent(subject, "open", "charge", "VALIDATED")
    story.call(*call, result="Transient")
    story.settle("payment-1", subject, place, "release", "down", 5 * S)
    created_us = time_of(story.entries[where(story.entries, "row", version=1)])
    story.t_us = created_us + CONTRACT.expiry_us
    story.row(subject, 3, "EXPIRED")
    story.publish(subject, "OrderExpired")
    story.run(
        "notification-1",
        subject,
        "OrderExpired",
        lambda: story.mail(subject, "OrderExpired"),
        version=3,
    )
    place = story.deliver("payment-1", subject, kind)
    story.handle("payment-1", subject, kind, version=2)
    story.intent(subject, "close", "charge", "EXPIRED")
    story.settle("payment-1", subject, place)
    return story.end()


def stopped() -> list[Entry]:
    """A process is told to stop, ends its work, commits and leaves; another life takes over."""
    story, subject = Story(), "37.1"
    story.owned("validation-1", 1)
    story.order(subject)
    story.life("validation-1", "term")
    story.write("drained", "validation-1", "", "validation", 1, 0, 0)
    story.commit_all()
    story.life("validation-1", "stopped")
    story.life("validation-1#2", "start")
    story.owned("validation-1#2", 2)
    return story.end()


def outage() -> list[Entry]:
    """A third party is down; the breaker opens, and a probe closes it."""
    story = Story()
    story.order("37.1")
    story.wait(20 * S)
    for _ in range(10):
        story.call(
            "payment-1",
            "37.1",
            "payment_gateway",
            "query",
            result="Indeterminate",
            took_us=200 * MS,
        )
    story.write("breaker", "payment-1", "", "payment_gateway", "open")
    story.wait(5 * S)
    story.write("breaker", "payment-1", "", "payment_gateway", "half_open")
    story.call("payment-1", "37.1", "payment_gateway", "query")
    story.write("breaker", "payment-1", "", "payment_gateway", "closed")
    return story.end()


HEALTHY: Final[dict[str, Callable[[], list[Entry]]]] = {
    story.__name__: story
    for story in (
        plain,
        refused,
        repeated_request,
        cancelled,
        duplicate,
        retried,
        buried,
        expired,
        stopped,
        outage,
    )
}


# ---- judging, and finding one's way in a history


def judge(
    entries: Sequence[Entry], contract: Contract = CONTRACT, *, batch: int = BATCH
) -> dict[str, Finding]:
    """Findings by the name of the promise."""
    checker = Checker(contract)
    for start in range(0, len(entries), batch):
        checker.take(entries[start : start + batch])
    return {finding.name: finding for finding in checker.findings()}


def where(entries: Sequence[Entry], kind: str, **fields: object) -> int:
    """Index of the first entry of a kind with these fields.

    Raises:
        LookupError: there is none.
    """
    for index, entry in enumerate(entries):
        if kind_of(entry) == kind and fields.items() <= as_dict(entry).items():
            return index
    raise LookupError(f"no {kind} with {fields}")


def changed(entry: Entry, **fields: object) -> Entry:
    """The entry with other values in some of its fields."""
    names = FIELDS[kind_of(entry)]
    assert set(fields) <= set(names), fields
    return tuple(fields.get(name, value) for name, value in zip(names, entry, strict=True))


def without(
    entries: Iterable[Entry], *unwanted: Callable[[dict[str, object]], bool]
) -> list[Entry]:
    """The entries that none of the conditions holds for."""
    return [
        entry for entry in entries if not any(condition(as_dict(entry)) for condition in unwanted)
    ]
