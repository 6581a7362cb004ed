"""Every promise, in the order in which pages list them."""

from collections.abc import Collection
from typing import Final

from lab.checks.check import Check
from lab.checks.contract import Contract
from lab.checks.promises.asked import AsOrdered, CancelGranted, GatewayAgrees, MailsOwed
from lab.checks.promises.claims import ClaimReturned
from lab.checks.promises.dead_letters import DlqComplete, DlqSound
from lab.checks.promises.decisions import DecidedAsTold
from lab.checks.promises.events import (
    AckAfterEffect,
    DedupeSound,
    EffectOnce,
    NoLostEvent,
    PerKeyOrder,
)
from lab.checks.promises.excuses import ExcuseEarned
from lab.checks.promises.expiry import ExpiryInTime
from lab.checks.promises.liveness import Converges, Drains
from lab.checks.promises.money import ChargeAfterValidation, MoneyMatches, NoDoubleCharge
from lab.checks.promises.orders import (
    AcceptedIsDurable,
    IdempotencyKey,
    LegalTransitions,
    NoPhantom,
    OutboxAtomic,
    RefusedForAReason,
    RefusedLeavesNothing,
)
from lab.checks.promises.positions import CommitForward, CommitPrefix, FencingHolds, OneOwner
from lab.checks.promises.processes import Bounded, Deadline, GracefulShutdown, NoCrash, NoLeak
from lab.checks.promises.retries import BreakerLaw, RetryBudgetKept, RetryLaw
from lab.checks.promises.times import TimesTold
from lab.checks.promises.topics import HandlerInput, LogSound
from lab.checks.promises.traces import TraceComplete
from lab.checks.promises.turns import RetryInTime

PROMISES: Final[tuple[type[Check], ...]] = (
    NoDoubleCharge,
    MoneyMatches,
    GatewayAgrees,
    ChargeAfterValidation,
    AsOrdered,
    AcceptedIsDurable,
    CancelGranted,
    RefusedLeavesNothing,
    RefusedForAReason,
    NoPhantom,
    IdempotencyKey,
    LegalTransitions,
    DecidedAsTold,
    ExpiryInTime,
    OutboxAtomic,
    NoLostEvent,
    EffectOnce,
    MailsOwed,
    DedupeSound,
    ClaimReturned,
    AckAfterEffect,
    PerKeyOrder,
    TraceComplete,
    TimesTold,
    LogSound,
    HandlerInput,
    CommitPrefix,
    CommitForward,
    OneOwner,
    FencingHolds,
    DlqSound,
    DlqComplete,
    ExcuseEarned,
    RetryLaw,
    RetryInTime,
    RetryBudgetKept,
    BreakerLaw,
    Bounded,
    Deadline,
    GracefulShutdown,
    NoCrash,
    NoLeak,
    Converges,
    Drains,
)
"""The promises. A new one is a class in the file of its family and a line here."""

NAMES: Final[tuple[str, ...]] = tuple(promise.name for promise in PROMISES)


def make_checks(contract: Contract, only: Collection[str] = ()) -> tuple[Check, ...]:
    """One check per promise; those named in `only`, or all of them if it is empty."""
    return tuple(promise(contract) for promise in PROMISES if not only or promise.name in only)
