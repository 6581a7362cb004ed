"""A check of one promise, and its finding.

A check is handed orders to judge, one case at a time, and at the end the processes, partitions and
leftovers of the run. It counts how often its subject occurred and how often it was broken, and
keeps the first witness. Not here: single promises (`promises/`, one file a family), and the verdict
on a whole run (`verdict`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import msgspec

from lab.checks.call_folds import CallFolds
from lab.checks.contract import Contract
from lab.checks.delivery_folds import DeliveryFolds
from lab.checks.fact_folds import FactFolds, Fold
from lab.checks.order_case import Case
from lab.checks.partition_track import Track
from lab.checks.process_life import ProcessLife
from lab.checks.standing_records import StandingRecords


class CheckError(Exception):
    """A check itself failed. The run has no verdict; it is our bug."""


class Kind(StrEnum):
    """What sort of promise: something bad never happens, or something good happens at last."""

    SAFETY = "safety"
    LIVENESS = "liveness"


class Verdict(StrEnum):
    """The state of knowledge about a promise, or about a run."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check.

    Attributes:
        checked: how often its subject occurred; 0 makes it UNKNOWN.
        violations: how often it was broken.
        witness: the first violation in a sentence, "" if there is none.
        subject: the order of the witness as `ordinal.send`, "" if it is no order's.
        note: something worth knowing that breaks nothing, such as open money.
        doubt: why the run proves nothing although no promise is broken, "" if it does.
    """

    name: str
    sentence: str
    kind: Kind
    verdict: Verdict
    checked: int
    violations: int
    witness: str = ""
    subject: str = ""
    note: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that can be judged when the history is complete.

    Attributes:
        has_ended: phase `end` was reached. If not, a missing entry proves nothing.
    """

    facts: FactFolds
    calls: CallFolds
    deliveries: DeliveryFolds
    lives: Sequence[ProcessLife]
    tracks: Sequence[Track]
    topics: Sequence[StandingRecords]
    has_ended: bool


class Check:
    """One promise. Each subclass overrides one of `judge`, `conclude` and `folds` at least.

    Attributes:
        name: as on the page and in `--only`.
        sentence: the promise in one sentence.
        kind: see `Kind`.
    """

    name: ClassVar[str]
    sentence: ClassVar[str]
    kind: ClassVar[Kind] = Kind.SAFETY

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.checked = 0
        self.violations = 0
        self.note = ""
        self.doubt = ""
        self._witness = ""
        self._subject = ""

    def folds(self) -> Mapping[str, Fold]:
        """The fold for each kind of entry that the check wants to see one by one."""
        return {}

    def judge(self, case: Case) -> None:
        """Judge one order, at its end or when the run stops; see `Case.is_whole`."""

    def conclude(self, seen: Seen) -> None:
        """Judge processes, partitions and leftovers. Called once, after the last order."""

    def broken(self, witness: str, subject: str = "", *, times: int = 1) -> None:
        """The promise was broken; the first witness is kept."""
        self.violations += times
        if not self._witness:
            self._witness, self._subject = witness, subject

    def breaks(self, case: Case, what: str) -> None:
        """An order broke the promise; `what` follows "order 37: "."""
        case.is_broken = True
        self.broken(f"order {case.name}: {what}", case.subject)

    def finding(self) -> Finding:
        """The result so far."""
        if self.violations:
            verdict = Verdict.FAIL
        else:
            verdict = Verdict.PASS if self.checked else Verdict.UNKNOWN
        return Finding(
            name=self.name,
            sentence=self.sentence,
            kind=self.kind,
            verdict=verdict,
            checked=self.checked,
            violations=self.violations,
            witness=self._witness,
            subject=self._subject,
            note=self.note,
            doubt=self.doubt,
        )


def seconds(us: int) -> str:
    """An instant or a length as a page shows it."""
    return f"{us / 1_000_000:.3f}s"


def times(n: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
