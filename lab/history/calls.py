"""Calls: entries of a process about its own deeds, one named tuple a kind.

A `*.begin` is written before the deed, a `*.end` after it; a begin without an end means that the
process died in between: the call may or may not have happened. Each class is named after its kind.
`result`, where a class has it, is a verdict such as `committed` or `captured`, or the name of an
error class. Not here: requests over HTTP (`requests`), facts of witnesses that survive crashes
(`facts`), and the rules that hold for every entry (`entries`).
"""

from typing import Literal, NamedTuple

# ---- publishing


class PublishBeginEntry(NamedTuple):
    """Records are about to be published.

    Attributes:
        topic: "" if the records of one call go to several topics.
        cause_ids: for each event, the one that caused it.
        subjects: for each event, the order that it is about.
    """

    kind: Literal["publish.begin"]
    t_us: int
    process: str
    subject: str
    topic: str
    event_ids: tuple[str, ...]
    cause_ids: tuple[str, ...]
    subjects: tuple[str, ...]


class PublishEndEntry(NamedTuple):
    """A publish has ended; see `PublishBeginEntry`."""

    kind: Literal["publish.end"]
    t_us: int
    process: str
    subject: str
    topic: str
    event_ids: tuple[str, ...]
    result: str


# ---- the delivery loop


class DeliverEntry(NamedTuple):
    """A record is handed to the chain of its group.

    Attributes:
        digest: of the record in the hand of the process, made as `AppendedEntry.digest`.
    """

    kind: Literal["deliver"]
    t_us: int
    process: str
    subject: str
    group: str
    topic: str
    partition: int
    offset: int
    epoch: int
    event_id: str
    event_type: str
    attempt: int
    digest: str


class SettleEntry(NamedTuple):
    """A delivery is settled.

    Attributes:
        settlement: `ack`, `retry`, `dead`, `release`, or `stale` (of an old epoch: dropped).
        why: the reason that the settlement carries, as in `lab.ports.bus`; "" if it carries none.
        after_us: the delay of a `retry`, the pause after a `release`, else 0.
    """

    kind: Literal["settle"]
    t_us: int
    process: str
    subject: str
    group: str
    topic: str
    partition: int
    offset: int
    epoch: int
    event_id: str
    settlement: str
    why: str
    after_us: int


class PositionEntry(NamedTuple):
    """A process is about to report to the bus how far its group has come."""

    kind: Literal["position"]
    t_us: int
    process: str
    subject: str
    group: str
    topic: str
    partition: int
    offset: int
    epoch: int


class LostEntry(NamedTuple):
    """A member was told of offsets that its group has not committed and can never read.

    Retention has passed a group that stood still; or the log is another one, and the group reads
    from `until` on.

    Attributes:
        offset, until: the first one that is gone, and the first one that can be read.
    """

    kind: Literal["lost"]
    t_us: int
    process: str
    subject: str
    group: str
    topic: str
    partition: int
    offset: int
    until: int


class HeldEntry(NamedTuple):
    """More records than ever before are in the hand of a process: fetched and not settled.

    Those are left out that came from a retry topic before their time, or behind such a one.
    """

    kind: Literal["held"]
    t_us: int
    process: str
    subject: str
    group: str
    records: int


class OwnedEntry(NamedTuple):
    """A member is given its partitions under a new epoch."""

    kind: Literal["owned"]
    t_us: int
    process: str
    subject: str
    group: str
    epoch: int
    partitions: tuple[str, ...]


class RevokedEntry(NamedTuple):
    """A member has lost its partitions."""

    kind: Literal["revoked"]
    t_us: int
    process: str
    subject: str
    group: str
    epoch: int
    partitions: tuple[str, ...]


class PausedEntry(NamedTuple):
    """A subscription fetches nothing for some time."""

    kind: Literal["paused"]
    t_us: int
    process: str
    subject: str
    group: str
    why: str
    for_us: int


class DrainedEntry(NamedTuple):
    """A stopping process has brought so many deliveries to their end, cancelled and left behind."""

    kind: Literal["drained"]
    t_us: int
    process: str
    subject: str
    group: str
    drained: int
    cancelled: int
    abandoned: int


# ---- handlers, their patterns and their units of work


class HandleBeginEntry(NamedTuple):
    """A handler starts: one real run, past dedupe and inbox.

    Attributes:
        sequence: the version of the order that the event is about.
        topic: the main topic of the event.
        epoch: of the delivery that the handler runs for.
        digest: of the record that the handler is given, made as `AppendedEntry.digest`.
        redrives: how often an operator had sent the event back before.
    """

    kind: Literal["handle.begin"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    event_type: str
    attempt: int
    sequence: int
    deadline_us: int
    topic: str
    epoch: int
    digest: str
    redrives: int


class HandleEndEntry(NamedTuple):
    """A handler has ended.

    Attributes:
        result: `ok`, the name of an error class, `crash` or `cancelled`.
        redrives: as at its begin.
    """

    kind: Literal["handle.end"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    event_type: str
    attempt: int
    result: str
    redrives: int


class CommitBeginEntry(NamedTuple):
    """A unit of work is about to be committed.

    Attributes:
        settles: the unit ends the handling of its event as done.
    """

    kind: Literal["commit.begin"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    settles: bool


class CommitEndEntry(NamedTuple):
    """A commit has an answer; see `CommitBeginEntry`."""

    kind: Literal["commit.end"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    settles: bool
    result: str


class ClaimEntry(NamedTuple):
    """The dedupe store has answered a claim. Claims know no order: the subject is "".

    Attributes:
        state: `acquired`, `takeover`, `busy` or `done`.
    """

    kind: Literal["claim"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    state: str
    fence: int


class CompleteEntry(NamedTuple):
    """The dedupe store has answered that an event is done."""

    kind: Literal["complete"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    fence: int
    accepted: bool


class UnclaimEntry(NamedTuple):
    """The dedupe store has answered that a claim is given back."""

    kind: Literal["unclaim"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    fence: int
    accepted: bool


class LookEntry(NamedTuple):
    """A process has looked up the outcome of an event."""

    kind: Literal["look"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    outcome: str


class RetryingEntry(NamedTuple):
    """An attempt has failed and the event gets another one.

    Attributes:
        where: `in_place`, `throttled`, `tier.1` ..., or `unparked`: the retry topic of a tier could
            not be reached, so the event is tried again in place.
    """

    kind: Literal["retrying"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    attempt: int
    error_class: str
    where: str
    delay_us: int


class BuriedEntry(NamedTuple):
    """A group has given up an event."""

    kind: Literal["buried"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    reason: str
    attempts: int
    starts: int
    redrives: int


class StartEntry(NamedTuple):
    """A handler may be about to start; so many starts before it, one or more, had no known end."""

    kind: Literal["start"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    unexplained: int


class ActedEntry(NamedTuple):
    """A pattern did its work once, such as (`dedupe`, `suppressed`)."""

    kind: Literal["acted"]
    t_us: int
    process: str
    subject: str
    pattern: str
    what: str


# ---- third parties


class CallBeginEntry(NamedTuple):
    """A call to a third party begins."""

    kind: Literal["call.begin"]
    t_us: int
    process: str
    subject: str
    provider: str
    action: str
    key: str
    deadline_us: int


class CallEndEntry(NamedTuple):
    """A call to a third party has ended.

    Attributes:
        late_us: so long after its deadline; 0 if in time.
        took_us: since its begin.
        hint_us: the answer asks to stay away for so long; 0 if it does not.
    """

    kind: Literal["call.end"]
    t_us: int
    process: str
    subject: str
    provider: str
    action: str
    key: str
    result: str
    late_us: int
    took_us: int
    hint_us: int


class BreakerEntry(NamedTuple):
    """A breaker has changed its state: `open`, `half_open` or `closed`."""

    kind: Literal["breaker"]
    t_us: int
    process: str
    subject: str
    dependency: str
    state: str


# ---- the rest


class AdmittedEntry(NamedTuple):
    """The API has let in more requests at once, not answered yet, than ever before."""

    kind: Literal["admitted"]
    t_us: int
    process: str
    subject: str
    requests: int


class RedrivenEntry(NamedTuple):
    """An operator's answer to a dead letter was published.

    Attributes:
        answer: `redriven` or `discarded`.
        redrives: how often the event has been answered now.
    """

    kind: Literal["redriven"]
    t_us: int
    process: str
    subject: str
    group: str
    event_id: str
    answer: str
    redrives: int


class StalledEntry(NamedTuple):
    """A process has stood still until now, by its own watch; upper bounds leave that time out."""

    kind: Literal["stalled"]
    t_us: int
    process: str
    subject: str
    for_us: int
