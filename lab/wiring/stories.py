"""Stories of the orders of a kept run: read back, judged once more, and compared with another run.

Not here: what a story is made of (`lab.story`), and its looks (`lab.cli.explain`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from lab.checks.check import seconds
from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.checks.registry import PROMISES
from lab.faults.plan.file import PlanError
from lab.faults.table.spec import ordinal_of, parse_faults
from lab.history.entries import FIELDS, Entry, kind_of, subject_of, time_of
from lab.report.course import CourseFold
from lab.report.result import CheckResult, Result
from lab.runner import Progress
from lab.settings import SIMULATED, WALL_CLOCK, settings_for
from lab.story.choice import chosen_orders
from lab.story.parting import first_parting
from lab.story.story import PartsHere, Sentence, Side, Story
from lab.story.told import Teller
from lab.story.turning import turning_point
from lab.story.words import length, sentence
from lab.wiring.judging import contract_of
from lab.wiring.replay import plan_of, spec_to_replay
from lab.wiring.run import run_spec
from lab.wiring.seen_orders import OrderListener, SeenOrder, see_orders
from lab.wiring.seen_run import SeenRun

SENTENCES: Final = {promise.name: promise.sentence for promise in PROMISES}
JUDGED_MAX: Final = 100_000
"""Entries of a whole run that are judged again and again to find one."""
_CLAIMS: Final = frozenset({"claim", "complete", "unclaim"})
_SAVES: Final = ("suppressed", "recovered", "replayed", "retried", "dead_lettered", "sent_again")


class StoryError(ValueError):
    """A story that cannot be told; the message says why, and what can be."""


class Storyteller:
    """Tells the stories of one kept run.

    Args:
        folder: of the run.

    Raises:
        HistoryError: see `SeenRun`.
    """

    def __init__(self, folder: Path) -> None:
        fold = CourseFold()
        self.run = SeenRun(folder, fold)
        self.result = self.run.result
        self._turns: dict[str, tuple[Entry | None, int | None]] = {}
        course = fold.course()
        bad = [(one.name, one.witness, one.witness_order) for one in broken(self.result)]
        self.chosen = chosen_orders(
            bad,
            hit_most=course.hit_most,
            hits=course.hits,
            slowest=course.slowest,
            slowest_took=length(course.slowest_us),
        )

    def story(
        self,
        order: int | None = None,
        *,
        beside: "Storyteller | None" = None,
        on_progress: Progress | None = None,
    ) -> Story:
        """The story of one order.

        Args:
            order: its ordinal; None: the witness of the first broken promise, else the order that
                has most to tell.
            beside: another run of the same orders; None: the same plan is run with the patterns
                on, if some were off.
            on_progress: of that run.

        Raises:
            StoryError: there is no such order, or nothing of it was kept.
        """
        ordinal = self._ordinal() if order is None else order
        seen = see_orders(self.run, (ordinal,))[ordinal]
        if not seen.entries:
            raise StoryError(self.nothing_of(ordinal))
        parting, notes = self._parting(ordinal, seen, beside, on_progress)
        sentences, turn, line = self._sentences(ordinal, seen)
        result = self.result
        return Story(
            run=self.run.run_id,
            scenario=result.scenario,
            seed=result.seed,
            mode=result.mode,
            verdict=result.verdict,
            order=ordinal,
            why="" if order is not None or broken(self.result) else self.chosen[ordinal],
            sentences=tuple(sentences),
            turning_entry=line,
            epoch_us=self.run.epoch_us,
            steps=seen.steps(turn),
            parting=parting,
            notes=(*self._notes(), *notes),
        )

    # ---- which order

    def _ordinal(self) -> int:
        """The order that has most to tell."""
        bad = broken(self.result)
        if bad and all(check.witness_order is None for check in bad):
            # It is about processes or partitions; the entry that broke it may be about an order.
            _, _, ordinal = self._turn_of_run(bad[0])
            if ordinal:
                return ordinal
        if not self.chosen:
            raise StoryError(f"{self.run.folder}: there is no order in this run to tell of")
        return next(iter(self.chosen))

    def nothing_of(self, ordinal: int) -> str:
        """Why there is no story of an order, in a sentence."""
        submitted = self.result.orders.submitted
        if not 1 <= ordinal <= submitted:
            return f"{self.run.run_id} has no order {ordinal}: its orders are 1 to {submitted:,}"
        return (
            f"{self.run.run_id} keeps nothing of order {ordinal}: of a long run some orders are "
            f"kept; run it again: {self.result.reproduce} --history all"
        )

    # ---- the three sentences

    def _sentences(
        self, ordinal: int, seen: SeenOrder
    ) -> tuple[list[Sentence], Entry | None, int | None]:
        """The sentences, and the entry that the last one is about, with its line in the history."""
        check = self._broken_by(ordinal)
        if check is None:
            return _of_what_held(self.result, seen), None, None
        promised = f"{sentence(SENTENCES[check.name])[:-1]} ({check.name})."
        told = [
            Sentence(label="Promised", text=promised),
            Sentence(label="Happened", text=sentence(check.witness)),
        ]
        turn, line = self._turn(check, ordinal, seen)
        if turn is None:
            text = "Nobody can say from which entry on: no single one of this history shows it."
        else:
            at_us = time_of(turn)
            text = f"From {seconds(at_us)} on: {Teller(seen.entries).told(turn)}."
            text += self._struck_before(seen, turn)
        return [*told, Sentence(label="Inevitable", text=text)], turn, line

    def _broken_by(self, ordinal: int) -> CheckResult | None:
        """The first promise that this order broke, with its own witness; or one of no order."""
        bad = broken(self.result)
        for check in bad:
            if check.witness_order == ordinal:
                return check
        names = [check.name for check in bad if check.witness_order is not None]
        if names:
            checker = Checker(self._contract(), only=names)
            checker.take([entry for _, entry in self._around(ordinal)])
            for finding in checker.findings():
                if finding.violations and ordinal_of(finding.subject) == ordinal:
                    (check,) = (one for one in bad if one.name == finding.name)
                    return _with_witness(check, finding.witness, ordinal)
        return next((check for check in bad if check.witness_order is None), None)

    def _turn(
        self, check: CheckResult, ordinal: int, seen: SeenOrder
    ) -> tuple[Entry | None, int | None]:
        """The entry that made it inevitable, one of `seen` if it is about the order; its line."""
        found: tuple[Entry | None, int | None] = (None, None)
        if check.witness_order is not None:
            found = self._turn_among(self._around(ordinal), check, ordinal)
        if found[0] is None:
            # It takes more than the entries of one order, such as all records of a partition.
            entry, line, _ = self._turn_of_run(check)
            found = entry, line
        entry, line = found
        if entry is None:
            return found
        if entry not in seen.entries:
            seen.entries.append(entry)
            return found
        # Of entries that are equal to the letter any tells the same.
        return seen.entries[seen.entries.index(entry)], line

    def _turn_of_run(self, check: CheckResult) -> tuple[Entry | None, int | None, int]:
        """The entry among all of the run, its line, and the order that it is about or 0."""
        if self.result.history_entries > JUDGED_MAX:
            return None, None, 0
        if check.name not in self._turns:
            around = list(enumerate(self.run.entries(), start=1))
            self._turns[check.name] = self._turn_among(around, check, check.witness_order)
        entry, line = self._turns[check.name]
        return entry, line, 0 if entry is None else self._order_of(entry)

    def _order_of(self, entry: Entry) -> int:
        """The order that an entry is about, also of a claim, which knows the event alone; or 0."""
        event_id = dict(zip(FIELDS[kind_of(entry)], entry, strict=True)).get("event_id")
        if subject_of(entry) or not event_id:
            return ordinal_of(subject_of(entry))
        rows = (row for row in self.run.entries() if kind_of(row) == "row" and event_id in row)
        return next((ordinal_of(subject_of(row)) for row in rows), 0)

    def _turn_among(
        self, around: Sequence[tuple[int, Entry]], check: CheckResult, ordinal: int | None
    ) -> tuple[Entry | None, int | None]:
        entries = [entry for _, entry in around]
        place = turning_point(entries, self._contract(), check.name, check.witness, ordinal)
        if place is None:
            return None, None
        line, entry = around[place]
        return entry, line

    def _around(self, ordinal: int) -> Sequence[tuple[int, Entry]]:
        """What is about an order or about the run, with the line of each."""
        wanted = ("", str(ordinal))
        found = []
        events: set[object] = set()
        for line, entry in enumerate(self.run.entries(), start=1):
            subject = subject_of(entry).partition(".")[0]
            if subject == wanted[1] and kind_of(entry) == "row":
                events.add(entry[6])
            # Claims know no order, only the event.
            if kind_of(entry) in _CLAIMS and entry[5] not in events:
                continue
            if subject in wanted:
                found.append((line, entry))
        return found

    def _contract(self) -> Contract:
        result = self.result
        profile = WALL_CLOCK if result.settings_profile == WALL_CLOCK else SIMULATED
        settings = settings_for(profile)  # type: ignore[arg-type]  # one of two words
        faults = result.options.get("faults")
        texts = [str(text) for text in faults] if isinstance(faults, list) else []
        return contract_of(settings.with_changes(result.settings), parse_faults(texts))

    def _struck_before(self, seen: SeenOrder, turn: Entry) -> str:
        """The last fault that had struck the order until then, in a sentence."""
        until = seen.entries.index(turn) if turn in seen.entries else len(seen.entries)
        before = [entry for entry in seen.entries[:until] if time_of(entry) <= time_of(turn)]
        struck = next((entry for entry in before[::-1] if kind_of(entry) == "fault"), None)
        if struck is None:
            return ""
        at_us = time_of(struck)
        return f" Before it, at {seconds(at_us)}: {Teller([]).told(struck)}."

    # ---- beside another run

    def _parting(
        self,
        ordinal: int,
        seen: SeenOrder,
        beside: "Storyteller | None",
        on_progress: Progress | None,
    ) -> tuple[PartsHere | None, tuple[str, ...]]:
        if beside is not None:
            theirs = see_orders(beside.run, (ordinal,))[ordinal].entries
            if not theirs:
                raise StoryError(beside.nothing_of(ordinal))
            labels = (self.run.run_id, beside.run.run_id)
            return _parts(seen.entries, theirs, labels), ()
        off = ", ".join(self.result.off)
        if not off:
            return None, ()
        if self.result.mode != "simulated":
            again = "run it again without --off and compare: lab explain RUN --beside OTHER"
            return None, (f"Where it parts from a run with {off} on is not shown here: {again}",)
        try:
            path, plan = plan_of(self.run.folder)
        except PlanError as bad:
            return None, (f"where it parts from a run with {off} on nobody can say: {bad}",)
        twin = OrderListener(ordinal)
        spec = replace(spec_to_replay(path, plan, None), off=(), watch=twin)
        run_spec(spec, on_progress=on_progress)
        return _parts(seen.entries, twin.entries, (f"without {off}", f"with {off}")), ()

    def _notes(self) -> tuple[str, ...]:
        if self.result.mode != "real":
            return ()
        told = "what has no such order stands by the clocks of its processes, which may differ"
        return (f"A cause stands before its effects; {told}.",)


def broken(result: Result) -> list[CheckResult]:
    """Broken promises, those that the scenario is about first."""
    found = [check for check in result.checks if check.verdict == "FAIL"]
    return sorted(found, key=lambda check: not check.at_risk)


def _with_witness(check: CheckResult, witness: str, ordinal: int) -> CheckResult:
    return msgspec.structs.replace(check, witness=witness, witness_order=ordinal)


def _of_what_held(result: Result, seen: SeenOrder) -> list[Sentence]:
    """The sentences about an order that broke nothing."""
    risked = [check for check in result.checks if check.at_risk and check.verdict == "PASS"]
    judged = risked or [check for check in result.checks if check.verdict == "PASS"]
    if judged:
        first = judged[0].name
        promised = f"{sentence(SENTENCES.get(first, first))[:-1]} ({first})."
    else:
        promised = "Nothing that this run put to the test."
    teller = Teller(seen.entries)
    faults = [entry for entry in seen.entries if kind_of(entry) == "fault"]
    states = [str(entry[5]) for entry in seen.entries if kind_of(entry) == "row"]
    end = f"the order came to {states[-1]}" if states else "no order was stored"
    struck = (
        f"{len(faults)} faults struck it, and " if len(faults) != 1 else "1 fault struck it, and "
    )
    kept = f"It held: {struck if faults else 'no fault struck it, and '}{end}."
    saved = next((e for e in seen.entries if kind_of(e) == "acted" and str(e[5]) in _SAVES), None)
    text = "Nothing: no pattern had to do anything for it."
    if saved is not None:
        at_us = time_of(saved)
        text = f"First at {seconds(at_us)}: {teller.told(saved)}."
    return [
        Sentence(label="Promised", text=promised),
        Sentence(label="Happened", text=kept),
        Sentence(label="Saved by", text=text),
    ]


def _parts(one: Sequence[Entry], other: Sequence[Entry], labels: tuple[str, str]) -> PartsHere:
    parting = first_parting(one, other)
    if parting is None:
        return PartsHere(before="", sides=())
    sides = []
    for label, entries, places in zip(labels, (one, other), parting[:2], strict=True):
        teller = Teller(entries)
        told = [_at(entries[place], teller) for place in places]
        sides.append(Side(label=label, told=tuple(told) or ("nothing more",)))
    before = "" if parting.before is None else _at(one[parting.before], Teller(one))
    return PartsHere(before=before, sides=tuple(sides))


def _at(entry: Entry, teller: Teller) -> str:
    return f"{seconds(time_of(entry))}  {teller.told(entry)}"
