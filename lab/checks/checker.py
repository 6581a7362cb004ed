"""The checker: a sink of the recorder that folds a history into findings.

Not here: single promises, and the verdict on the run (`verdict`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from lab.checks.call_folds import CallFolds
from lab.checks.check import Check, CheckError, Finding, Seen
from lab.checks.contract import Contract
from lab.checks.delivery_folds import DeliveryFolds
from lab.checks.fact_folds import FactFolds, Fold
from lab.checks.order_case import Case
from lab.checks.order_cases import Casebook
from lab.checks.partition_track import Tracks
from lab.checks.process_life import Lives
from lab.checks.registry import make_checks
from lab.checks.run_numbers import Acted
from lab.history.entries import KINDS, Entry, kind_of, maker, time_of
from lab.history.facts import PhaseEntry


class Checker:
    """Judges one run.

    Entries are taken in the middle of the simulated world, where an exception might be taken for
    a failing handler. So a check that raises is remembered, stops all checking, and is raised by
    `findings`: it is never a pass.

    Args:
        contract: the declared policies.
        only: names of the promises to judge; all if it is empty.
        checks: the checks themselves, for tests of single ones.

    Attributes:
        contract: see above.
        acted: the numbers of the run; complete after `findings`.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        only: Collection[str] = (),
        checks: Sequence[Check] | None = None,
    ) -> None:
        self.contract = contract
        self.acted = Acted()
        self._checks = make_checks(contract, only) if checks is None else tuple(checks)
        self._judges = [
            check.judge for check in self._checks if type(check).judge is not Check.judge
        ]
        tracks = self._tracks = Tracks()
        self._book = Casebook(
            self._judge, linger_us=contract.linger_us, window_us=contract.window_us
        )
        self._facts = FactFolds(self._book, tracks)
        self._lives = Lives()
        self._calls = CallFolds(contract, self._book, self._lives)
        self._deliveries = DeliveryFolds(
            contract, self._book, tracks, self._lives, self._calls.claims
        )
        self._folds = _merged(
            [
                self._facts.folds(),
                self._calls.folds(),
                self._deliveries.folds(),
                self.acted.folds(),
                *(check.folds() for check in self._checks),
                {"phase": self._phase},
            ],
            [
                self._facts.hot_folds(),
                self._calls.hot_folds(),
                self._deliveries.hot_folds(),
                self.acted.hot_folds(),
            ],
        )
        self._now_us = 0
        self._error: Exception | None = None
        self._findings: tuple[Finding, ...] | None = None

    def take(self, batch: Sequence[Entry]) -> None:
        """See `lab.history.recorder.Sink`."""
        if self._error is not None:
            return
        folds = map(self._folds.get, map(kind_of, batch))
        try:
            for fold, entry in zip(folds, batch, strict=True):
                if fold is not None:
                    fold(entry)
            self._sweep(batch)
        except Exception as error:  # noqa: BLE001 - raised by `findings`, see above
            self._error = error

    def findings(self) -> tuple[Finding, ...]:
        """One finding a promise. Call it when the history is complete.

        Raises:
            CheckError: a check failed; nothing is known.
        """
        if self._findings is None:
            try:
                if self._error is not None:
                    raise self._error
                self._findings = self._conclude()
            except Exception as error:
                self._error = error
                raise CheckError(f"a check failed: {error!r}") from error
        return self._findings

    def _conclude(self) -> tuple[Finding, ...]:
        self._calls.close(self._now_us)
        self._deliveries.close()
        self._book.close_all()
        seen = Seen(
            facts=self._facts,
            calls=self._calls,
            deliveries=self._deliveries,
            lives=list(self._lives.values()),
            tracks=list(self._tracks.values()),
            topics=list(self._tracks.topics.values()),
            has_ended=self._book.has_ended,
        )
        self.acted.conclude(seen.lives)
        for check in self._checks:
            check.conclude(seen)
        self._book.clear()
        return tuple(check.finding() for check in self._checks)

    def _phase(self, entry: PhaseEntry) -> None:
        # The end of a run is no batch's last entry if servers were asked for their facts after it.
        self._now_us = max(self._now_us, entry.t_us)

    def _sweep(self, batch: Sequence[Entry]) -> None:
        self._now_us = max(self._now_us, time_of(batch[-1]))
        self._calls.sweep(self._now_us)
        for packed in self._book.sweep(self._now_us):
            self._facts.forget(packed)

    def _judge(self, case: Case) -> None:
        self.acted.closed(case)
        if case.is_revived:
            self._judge_again(case)
            return
        for judge in self._judges:
            judge(case)

    def _judge_again(self, case: Case) -> None:
        """An order that was judged before, and counted: only new violations count."""
        before = [check.checked for check in self._checks]
        for judge in self._judges:
            judge(case)
        for check, checked in zip(self._checks, before, strict=True):
            check.checked = checked


def _merged(
    typed: Sequence[Mapping[str, Fold]], hot: Sequence[Mapping[str, Fold]]
) -> dict[str, Fold]:
    """One fold a kind. A kind with a hot fold has no other reader: that one pays for no object."""
    readers: dict[str, list[Fold]] = {}
    for table in typed:
        for kind, fold in table.items():
            readers.setdefault(kind, []).append(fold)
    merged = {kind: _in_turn(KINDS[kind], folds) for kind, folds in readers.items()}
    for table in hot:
        assert merged.keys().isdisjoint(table), "a kind with a hot fold has another reader"
        merged |= table
    return merged


def _in_turn(entry_type: type[NamedTuple], folds: Sequence[Fold]) -> Fold:
    make, fields = maker(entry_type), len(entry_type._fields)
    first, *others = folds

    def fold(entry: Entry) -> None:
        made = make(entry) if len(entry) == fields else entry_type._make(entry)
        first(made)
        for each in others:
            each(made)

    return fold
