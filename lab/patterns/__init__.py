"""Resilience patterns: one a file, each a switch of `--off` named as its file.

A file holds the strong part and the weak one, if there is one: the weak one takes the same
arguments, and leaves alone those of no use to it. This table is the reference of
`lab list --patterns`; a test compares it with the files. Not here: the choice between the two
(`lab.wiring.policy`).
"""

from typing import Final, NamedTuple


class Pattern(NamedTuple):
    """One switch: its purpose, and its substitute when it is off."""

    name: str
    prevents: str
    when_off: str


PATTERNS: Final = (
    Pattern(
        "load_shedding",
        "an overload in which every request waits and none is served in time",
        "every request is let in, however many are in hand",
    ),
    Pattern(
        "http_idempotency",
        "a second order when a client repeats its request",
        "the header Idempotency-Key is ignored",
    ),
    Pattern(
        "outbox",
        "a committed change without its event, or an event without its change",
        "events are published by the caller after its commit",
    ),
    Pattern(
        "drain",
        "work done twice because a process left in the middle of it",
        "a process exits at once, its work uncommitted",
    ),
    Pattern(
        "commit_prefix",
        "records skipped after a crash because a later one was committed",
        "the highest settled offset is committed",
    ),
    Pattern(
        "fencing",
        "a process that lost its partitions or its lease writing as if it had not",
        "epochs and fences are not compared",
    ),
    Pattern(
        "key_lanes",
        "a later event of an order overtaking an earlier one that is being retried",
        "no order of events, retry topics without a lock",
    ),
    Pattern(
        "dead_letter",
        "a record that nobody can handle blocking those behind it",
        "it is retried at the head of its lane for ever",
    ),
    Pattern(
        "retry",
        "an order lost to a failure that would have passed",
        "dead letter at the first failure",
    ),
    Pattern(
        "dedupe",
        "most duplicates, before they reach the order store",
        "no claim is made (another weak part: `dedupe.phases=1`)",
    ),
    Pattern(
        "inbox",
        "a second effect of the same event, whatever the cause",
        "no `done` row is written",
    ),
    Pattern(
        "poison_guard",
        "a record that kills its worker, again and again",
        "starts are not counted",
    ),
    Pattern(
        "timeout",
        "a worker that waits for ever for a third party",
        "no deadline anywhere",
    ),
    Pattern(
        "provider_key",
        "a second charge when the answer to the first was lost",
        "a new key for every call, and nobody asks the provider",
    ),
    Pattern(
        "breaker",
        "hammering a dependency that is down, and burning attempts on it",
        "always closed",
    ),
    Pattern(
        "compensation",
        "money kept for an order that was cancelled or has expired",
        "the capture is kept",
    ),
    Pattern(
        "redrive",
        "a dead letter that stays dead after its cause was mended, or comes back to everybody",
        "nobody looks into the dead-letter queues",
    ),
)
"""Every pattern, from the outside in: the order of the table of the switches in `lab.wiring`."""

NAMES: Final = tuple(pattern.name for pattern in PATTERNS)
