"""Facts: entries of witnesses that survive crashes, one named tuple a kind.

The witnesses are the order store, the bus, the third parties' ledgers and the run itself. Each
class is named after its kind. Not here: the entries of processes (`calls`), and the rules that hold
for every entry (`entries`).
"""

from typing import Literal, NamedTuple

# ---- the order store


class RowEntry(NamedTuple):
    """A version of an order's row, and the event that is owed for it.

    Attributes:
        buyer: whose order it is, as in `lab.history.contents`.
        reason: as the event says why an order is REJECTED or DECLINED, else "".
    """

    kind: Literal["row"]
    t_us: int
    process: str
    subject: str
    version: int
    state: str
    event_id: str
    event_type: str
    currency: str
    amount_cents: int
    buyer: str
    reason: str


class OutcomeEntry(NamedTuple):
    """The handling of an event has come to its end in a group.

    Attributes:
        outcome: `done` or `dead`.
        redrives: how often an operator had sent the event back before.
    """

    kind: Literal["outcome"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    outcome: str
    redrives: int


class IntentEntry(NamedTuple):
    """A step of an intent to move money.

    Attributes:
        op: `open`, `raise` or `close`.
        intent_kind: `charge` or `refund`; `n` counts those of one order from 1.
        state: the order's state at that commit.
    """

    kind: Literal["intent"]
    t_us: int
    process: str
    subject: str
    op: str
    intent_kind: str
    n: int
    key: str
    amount_cents: int
    state: str


class RevenueEntry(NamedTuple):
    """The revenue grew by an order's amount."""

    kind: Literal["revenue"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    currency: str
    amount_cents: int


class HttpKeyEntry(NamedTuple):
    """The answer to a request is stored under the request's Idempotency-Key."""

    kind: Literal["http_key"]
    t_us: int
    process: str
    subject: str
    key: str
    body_sha256: str
    status: int


class WaitingEntry(NamedTuple):
    """The rows of a key in retry have changed.

    Attributes:
        op: `add`, `bury`, `revive` or `remove`.
        behind_dead: the head of the key is dead after this change.
    """

    kind: Literal["waiting"]
    t_us: int
    process: str
    subject: str
    op: str
    group: str
    event_id: str
    behind_dead: bool


class BlockedEntry(NamedTuple):
    """The record of a customer says that his orders are refused."""

    kind: Literal["blocked"]
    t_us: int
    process: str
    subject: str
    customer: str


# ---- the bus


class AppendedEntry(NamedTuple):
    """A record stands in a topic; retry topics and dead-letter queues are topics too.

    Attributes:
        digest: short hash of key, value and the event's own headers (`ce_*`, content-type).
        traceparent: the event's place in its order's trace; cause_id: what led to it. Each is "" in
            a record that has no such header.
        amount_cents, currency, buyer, items, order_id, charge_key: what its value tells; see
            `lab.history.contents`. Records of retry topics and dead-letter queues are not read.
            order_id is "" also if key, subject or correlation name another order than the value.
        decided_us, expires_us: when it says that it was decided, and that its order expires, on the
            clock of the entries; -1 of one that does not say, and of a record that is not read.
    """

    kind: Literal["appended"]
    t_us: int
    process: str
    subject: str
    topic: str
    partition: int
    offset: int
    event_id: str
    event_type: str
    digest: str
    attempt: int
    traceparent: str
    cause_id: str
    amount_cents: int
    currency: str
    buyer: str
    items: str
    order_id: str
    charge_key: str
    decided_us: int
    expires_us: int


class LetterEntry(NamedTuple):
    """A dead letter stands in a dead-letter queue; this is what its headers tell of the death.

    Attributes:
        group: the one that gave the event up.
        event_id: as its worker knew it: the place of the record in its main topic without one.
        reason: as in `lab.ports.bus`, or `repeated` if the letter was published again.
        attempts, starts: that were made and that had no known end, by the letter.
        redrives: how often an operator had sent the event back before.
    """

    kind: Literal["letter"]
    t_us: int
    process: str
    subject: str
    topic: str
    group: str
    event_id: str
    reason: str
    attempts: int
    starts: int
    redrives: int


class CommittedEntry(NamedTuple):
    """The bus has answered a commit: `offset` is the group's position if it was accepted."""

    kind: Literal["committed"]
    t_us: int
    process: str
    subject: str
    group: str
    topic: str
    partition: int
    offset: int
    epoch: int
    accepted: bool


# ---- the third parties


class LedgerEntry(NamedTuple):
    """A line of a third party's ledger.

    Attributes:
        action: `capture`, `decline`, `refund`, `refund_declined` or `mail`.
        charge_key: key of the charge that is given back; the template of a mail; the reason of a
            `decline`.
    """

    kind: Literal["ledger"]
    t_us: int
    process: str
    subject: str
    provider: str
    action: str
    key: str
    charge_key: str
    amount_cents: int
    currency: str


class AnsweredEntry(NamedTuple):
    """A third party has answered a question, or failed a request of any sort.

    Attributes:
        customer, items, amount_cents: of the question, as it was understood; items is a hash as in
            `lab.history.contents`, "" for those that are not told of them.
        answer: `ok`; the reason of a no, `out_of_stock` or `fraud`; or of a failure the status,
            `unreadable`, or `silent` if the time was up before there was an answer.
    """

    kind: Literal["answered"]
    t_us: int
    process: str
    subject: str
    provider: str
    action: str
    customer: str
    items: str
    amount_cents: int
    answer: str


# ---- the run


class FaultEntry(NamedTuple):
    """One firing of a fault, recorded before it takes effect.

    Attributes:
        lasts_us: the fault goes on for so long, but not beyond phase `heal`; 0 if that is not known
            before.
    """

    kind: Literal["fault"]
    t_us: int
    process: str
    subject: str
    kind_of_fault: str
    site: str
    occurrence: int
    lasts_us: int


class FaultEndEntry(NamedTuple):
    """A fault that lasts is over."""

    kind: Literal["fault_end"]
    t_us: int
    process: str
    subject: str
    kind_of_fault: str
    site: str


class PhaseEntry(NamedTuple):
    """The run has come to a phase: `faults`, `heal`, `drain` or `end`."""

    kind: Literal["phase"]
    t_us: int
    process: str
    subject: str
    name: str


class LifeEntry(NamedTuple):
    """Something happened to a process life.

    Attributes:
        event: `start`, `kill`, `term`, `pause`, `resume`, `stopped`, `aborted`, or `exited`: it has
            ended by itself.
    """

    kind: Literal["life"]
    t_us: int
    process: str
    subject: str
    event: str


class FailedEntry(NamedTuple):
    """An exception came out where the order system expects none.

    Attributes:
        where: `request`, `delivery`, `subscription`, `relay`, `timer`, `program` (the begin or the
            end of a process), or `task`: any other.
        error: the name of its class.
    """

    kind: Literal["failed"]
    t_us: int
    process: str
    subject: str
    where: str
    error: str


class LeftEntry(NamedTuple):
    """A count of leftovers before phase `end`; rows and locks behind a dead head are left out.

    Attributes:
        process: the process that took them, `run` if nothing is left.
        what: owed work is `outbox`, `lag` (records not committed, over all groups) and `waiting`
            (rows of keys in retry). Everything else must be given back by its taker: `lease`
            (claims of dead owners after the longest lease), `lock`, `transaction`, `connection`,
            `task`, `timer`.
        count: 0 is written too.
    """

    kind: Literal["left"]
    t_us: int
    process: str
    subject: str
    what: str
    count: int  # type: ignore[assignment]  # hides `tuple.count`: the file calls it so


class OrderTruthEntry(NamedTuple):
    """An order as its store has it when the run is over, whatever it told of the changes.

    Only a store that is asked at the end is told of: in another one these are the same rows.

    Attributes:
        open_intents: charges and refunds whose end the store does not know.
        may_expire: whether the store would find it when its time is up.
    """

    kind: Literal["order_truth"]
    t_us: int
    process: str
    subject: str
    state: str
    version: int
    amount_cents: int
    currency: str
    open_intents: int
    may_expire: bool


class RevenueTruthEntry(NamedTuple):
    """The revenue in a currency as the store has it when the run is over; see above."""

    kind: Literal["revenue_truth"]
    t_us: int
    process: str
    subject: str
    currency: str
    amount_cents: int
