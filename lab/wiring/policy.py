"""The table of the switches, and the policy that every process of a run is built by.

`--off NAME` puts the weak part of a row in the place of the strong one; the wiring takes its parts
from here, and only from here. Not here: the purpose of a pattern (`lab.patterns`), and the way in
which the parts are put together (`process`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from lab.faults.plan.plan import FaultPlan
from lab.patterns.breaker import Breaker, NoBreaker
from lab.patterns.commit_prefix import commit_highest, commit_prefix
from lab.patterns.compensation import KeepLateCaptures, RefundLateCaptures
from lab.patterns.dead_letter import DeadLetters
from lab.patterns.dedupe import Dedupe
from lab.patterns.drain import Drain, ExitAtOnce
from lab.patterns.fencing import accept_any, accept_present
from lab.patterns.http_idempotency import IgnoredKeys, StoredKeys
from lab.patterns.inbox import Inbox, NoInbox
from lab.patterns.key_lanes import KeyParking, PlainParking
from lab.patterns.load_shedding import AdmitAll, LoadShedding
from lab.patterns.outbox import DirectPublish, keep_rows
from lab.patterns.poison_guard import PoisonGuard
from lab.patterns.provider_key import KeyPerCall, KeyPerIntent
from lab.patterns.redrive import Redrive
from lab.patterns.retry import NoRetry, Retrying
from lab.patterns.timeout import NoTimeout, Timeout
from lab.runtime.chance import KeyedChance
from lab.settings import Settings

S = TypeVar("S")
W = TypeVar("W")


class Place(StrEnum):
    """Where a part sits, from the outside in."""

    API = "the API"
    COMMIT = "every commit to the order store"
    PROCESS = "a process that is told to stop"
    LOOP = "the delivery loop"
    CHAIN = "a link of the chain around the handlers"
    RUN = "one run of a handler"
    CALL = "a call to a third party"
    OPERATOR = "the operator"


@dataclass(frozen=True, slots=True)
class Switch(Generic[S, W]):
    """One row of the table.

    Attributes:
        name: of the pattern, and of its switch.
        place: where it sits.
        strong: makes the part while the pattern is on.
        weak: makes it while the pattern is off, of the same arguments; None: nothing is there.
    """

    name: str
    place: Place
    strong: S
    weak: W


class Switches:
    """The table, from the outside in; within a place too, so the links stand in their order."""

    load_shedding = Switch("load_shedding", Place.API, LoadShedding, AdmitAll)
    http_idempotency = Switch("http_idempotency", Place.API, StoredKeys, IgnoredKeys)
    outbox = Switch("outbox", Place.COMMIT, keep_rows, DirectPublish)
    drain = Switch("drain", Place.PROCESS, Drain, ExitAtOnce)
    commit_prefix = Switch("commit_prefix", Place.LOOP, commit_prefix, commit_highest)
    fencing = Switch("fencing", Place.LOOP, accept_present, accept_any)
    key_lanes = Switch("key_lanes", Place.CHAIN, KeyParking, PlainParking)
    dead_letter = Switch("dead_letter", Place.CHAIN, DeadLetters, None)
    retry = Switch("retry", Place.CHAIN, Retrying, NoRetry)
    dedupe = Switch("dedupe", Place.CHAIN, Dedupe, None)
    inbox = Switch("inbox", Place.CHAIN, Inbox, NoInbox)
    poison_guard = Switch("poison_guard", Place.CHAIN, PoisonGuard, None)
    timeout = Switch("timeout", Place.RUN, Timeout, NoTimeout)
    provider_key = Switch("provider_key", Place.CALL, KeyPerIntent, KeyPerCall)
    breaker = Switch("breaker", Place.CALL, Breaker, NoBreaker)
    compensation = Switch("compensation", Place.CALL, RefundLateCaptures, KeepLateCaptures)
    redrive = Switch("redrive", Place.OPERATOR, Redrive, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The choices by which every process of a run is built."""

    settings: Settings
    off: tuple[str, ...]
    chance: KeyedChance
    plan: FaultPlan

    def part(self, switch: Switch[S, W]) -> S | W:
        """The maker of the part that a switch stands for."""
        return switch.weak if switch.name in self.off else switch.strong

    @property
    def accepts(self) -> Callable[[int, int], bool]:
        """Whether work under an epoch or fence counts while another one is present.

        The delivery loop compares so, and the dedupe store in memory.
        """
        return self.part(Switches.fencing)

    @property
    def compares_fences(self) -> bool:
        """Whether an old fence is refused, for a server that compares by itself."""
        return not self.accepts(0, 1)


def calls_are_guarded(off: Collection[str]) -> bool:
    """Whether calls to third parties go through a breaker, which then has a state to show."""
    return Switches.breaker.name not in off
