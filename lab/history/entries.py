"""Every kind of entry of a history, field by field.

An entry is a plain tuple `(kind, t_us, process, subject, *fields)`: it is written some hundred
times an order, so it is no object. `t_us` is the scheduler's clock in simulated runs, the machine's
monotonic clock in real ones. `process` is a process life such as `payment-1#2`, or one of the
witnesses `client`, `store`, `bus`, `ledger`, `run`. `subject` is the order (`ordinal.send`), or "".

Two sorts of entries:

- **calls**: what a process says that it did, `*.begin` before and `*.end` after. A begin without an
  end means that the process died in between: the call may or may not have happened.
- **facts**: what a witness that survives crashes says (rows, records, offsets, ledgers), written
  when the change is applied, or gathered from the servers at the end of a real run. Facts of one
  witness about one order are in the order in which they were applied; between a fact and a call,
  and between two processes, no order is promised.

Only ids, kinds, outcomes and times; no free text, so that a digest is the same on every Python.
"""

from typing import Final

Entry = tuple[object, ...]

FACTS: Final[dict[str, tuple[str, ...]]] = {
    # the order store
    "row": ("version", "state", "event_id", "event_type", "currency", "amount_cents"),
    "outcome": ("group", "event_id", "outcome", "redrives"),
    "intent": ("op", "intent_kind", "n", "key", "amount_cents", "state"),
    "revenue": ("group", "event_id", "currency", "amount_cents"),
    "http_key": ("key", "body_sha256", "status"),
    "waiting": ("op", "group", "event_id", "behind_dead"),
    # the bus
    "appended": ("topic", "partition", "offset", "event_id", "event_type", "digest", "attempt"),
    "committed": ("group", "topic", "partition", "offset", "epoch", "accepted"),
    # the third parties
    "ledger": ("provider", "action", "key", "charge_key", "amount_cents", "currency"),
    # the run
    "fault": ("kind_of_fault", "site", "occurrence", "lasts_us"),
    "fault_end": ("kind_of_fault", "site"),
    "phase": ("name",),
    "life": ("event",),
    "left": ("what", "count"),
    "order_truth": ("state", "amount_cents", "currency"),
}
"""Fields of each fact.

row: a version of the order row and the event owed for it. outcome: `done` or `dead`.
intent: `open`, `raise`, `close`, with the order's state at that commit. waiting: rows of keys in
retry, op `add`, `bury`, `revive`, `remove`.

appended: retry topics and dead-letter queues too; `digest` is a short hash of key, value and the
event's own headers (`ce_*`, content-type). ledger: action `capture`, `decline`, `refund`,
`refund_declined`, `mail`.

life: `start`, `kill`, `term`, `pause`, `resume`, `stopped`, `aborted`. phase: `faults`, `heal`,
`drain`, `end`. fault: one firing, recorded before it takes effect; it goes on for `lasts_us`, but
not beyond phase `heal`; 0 if that is not known before. fault_end: one that lasts is over. left:
what was looked at before phase `end`, and how many there were, 0 too; rows and locks behind a dead
head are left out. Owed work is `outbox`, `lag` (records not committed, over all groups) and
`waiting` (rows of keys in retry). Everything else must be given back by those who took it: `lease`
(claims of dead owners after the longest lease), `lock`, `transaction`, `connection`, `task`,
`timer`; there `process` is who took it, and `run` if nothing is left.
"""

CALLS: Final[dict[str, tuple[str, ...]]] = {
    "http.begin": ("op", "key", "body_sha256", "send"),
    "http.end": ("op", "key", "body_sha256", "send", "status", "problem", "answer"),
    "publish.begin": ("topic", "event_ids", "cause_ids", "subjects"),
    "publish.end": ("topic", "event_ids", "result"),
    "deliver": (
        "group",
        "topic",
        "partition",
        "offset",
        "epoch",
        "event_id",
        "event_type",
        "attempt",
    ),
    "settle": (
        "group",
        "topic",
        "partition",
        "offset",
        "epoch",
        "event_id",
        "settlement",
        "why",
        "after_us",
    ),
    "handle.begin": (
        "group",
        "event_id",
        "event_type",
        "attempt",
        "sequence",
        "deadline_us",
        "topic",
    ),
    "handle.end": ("group", "event_id", "event_type", "attempt", "result"),
    "commit.begin": ("group", "event_id", "settles"),
    "commit.end": ("group", "event_id", "settles", "result"),
    "call.begin": ("provider", "action", "key", "deadline_us"),
    "call.end": ("provider", "action", "key", "result", "late_us", "took_us", "hint_us"),
    "claim": ("group", "event_id", "state", "fence"),
    "complete": ("group", "event_id", "fence", "accepted"),
    "unclaim": ("group", "event_id", "fence", "accepted"),
    "look": ("group", "event_id", "outcome"),
    "retrying": ("group", "event_id", "attempt", "error_class", "where", "delay_us"),
    "buried": ("group", "event_id", "reason", "attempts", "starts", "redrives"),
    "redriven": ("group", "event_id", "answer", "redrives"),
    "start": ("group", "event_id", "unexplained"),
    "position": ("group", "topic", "partition", "offset", "epoch"),
    "held": ("group", "records"),
    "admitted": ("requests",),
    "owned": ("group", "epoch", "partitions"),
    "revoked": ("group", "epoch", "partitions"),
    "paused": ("group", "why", "for_us"),
    "breaker": ("dependency", "state"),
    "drained": ("group", "drained", "cancelled", "abandoned"),
    "acted": ("pattern", "what"),
    "stalled": ("for_us",),
}
"""Fields of each call.

http: written by the client; `op` is `create` or `cancel`, `send` counts from 1, status 0 means no
answer, `problem` is the problem type ("" if none), `answer` the order id or "".

publish: `topic` is "" if the records of one call go to several topics. commit: `settles` if the
unit ends the handling of its event as done. commit, call, publish: `result` is the verdict
(`committed`, `captured`, ...) or the name of an error class; `late_us` is how long after its
deadline a call returned, 0 if in time; `took_us` since its begin; `hint_us` how long the answer
asks to stay away, 0 if it does not.

settle: settlement `ack`, `retry`, `dead`, `release`, `stale` (an old epoch: dropped); `why` as in
`lab.ports.bus`. handle: one real run of a handler, past dedupe and inbox; `result` is `ok`, the
name of an error class, `crash` or `cancelled`. claim: `state` `acquired`, `takeover`, `busy`,
`done`; claims know no order, so their subject is "". retrying: `where` is `in_place`, `throttled`,
`tier.1` ..., `unparked` (after one of the latter: its retry topic could not be reached, so the
event is tried again where it is).

redriven: an operator's answer to a dead letter was published, `redriven` or `discarded`; `redrives`
is how often the event has been answered now.

position: a process is about to tell the bus how far its group has come. held: it has more records
in hand, fetched and not settled, than ever before. admitted: the API has let in more requests at
once, not answered yet, than ever before. acted: a pattern did its work once, such as (`dedupe`,
`suppressed`). stalled: a process has stood still for so long until now, as its own watch tells;
upper bounds leave that out.
"""

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    kind: ("kind", "t_us", "process", "subject", *fields)
    for kind, fields in (FACTS | CALLS).items()
}
"""All fields of each kind, in the order of the tuple."""


def as_dict(entry: Entry) -> dict[str, object]:
    """One entry with its field names, as `history.ndjson` and the pages show it."""
    return dict(zip(FIELDS[str(entry[0])], entry, strict=True))
