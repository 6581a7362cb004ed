"""`lab prove`: every plan of up to K faults in a run of a few orders, and whether all hold.

Not here: the proof (`lab.explore.proving`, `proof`), and the looks of a page (`render`).
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli import exploring
from lab.cli.exit_codes import ExitCode, code_of
from lab.cli.flag_values import FlagValues, OptionError
from lab.cli.options import DEFAULT_OUT, RunFlags, ScenarioName, read_display, read_options
from lab.cli.run import ask_for_a_name

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.explore.proof import Proof, ProofLevel
    from lab.explore.proving import Proving
    from lab.explore.spread import Crew

FAULTS_MAX: Final = 9


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prove(RunFlags):
    """Run every plan of up to K faults in a run of few orders: crashes, duplicates, lost answers.

    A fault is one visit to one site. Plans are left out by two rules, and counted. Policies of a
    tiny run are used (bus.partitions=1, bus.workers=2, outbox.shards=1) where none is given.

    Exit code: 0 all plans were covered and held, 1 FAIL: the smallest plan that breaks a promise is
    kept, 2 wrong usage, 3 not all were covered, 4 no cluster, 130 interrupted.
    """

    scenario: ScenarioName = None
    faults: Annotated[
        str | None,
        typer.Option("--faults", metavar="K", help="How many faults a plan has at most.  [1]"),
    ] = None
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kinds",
            metavar="KIND",
            help="Only these kinds of fault. Repeatable, or a,b.  [all that are proven]",
            show_default=False,
        ),
    ] = None
    max_plans: Annotated[
        str | None,
        typer.Option("--max-plans", metavar="N", help="End when N plans were covered."),
    ] = None
    count: Annotated[
        bool,
        typer.Option(
            "--count",
            help="Cover all levels but the last, whose plans are counted: how long it would take.",
        ),
    ] = False
    jobs: exploring.Jobs = None
    cluster: exploring.Cluster = None

    def execute(self) -> int:
        display = read_display(self)
        if display.html is not None or display.junit is not None or display.ship:
            raise OptionError("--html, --junit and --ship are of one run: take the one it keeps")
        if self.seeds is not None:
            raise OptionError("a proof is of one run: it takes --seed, not --seeds")
        options = read_options(self.scenario or "", self)
        if options.faults:
            raise OptionError("a proof makes the faults itself: leave --fault out, see --kinds")
        if not self.scenario:
            return ask_for_a_name("prove", options.scenarios, display)
        from lab.explore.proof import proof_of
        from lab.explore.proving import Proving

        values = FlagValues()
        proving = Proving(
            options,
            _within("faults", values.whole("faults", self.faults), FAULTS_MAX) or 1,
            kinds=values.many("kinds", self.kinds, separator=","),
        )
        plans_max = _within("max-plans", values.whole("max-plans", self.max_plans), 10**12)
        began = time.monotonic()
        is_ended = self._run(proving, plans_max, is_wanted=display.wants_progress)
        elapsed_s = time.monotonic() - began
        proof = proof_of(proving, elapsed_s=elapsed_s, out=options.out or DEFAULT_OUT)
        exploring.print_found(proof, lambda _: _page(proof, is_quiet=display.quiet), display)
        return code_of(proof.verdict, is_partial=False) if is_ended else ExitCode.INTERRUPTED

    def _run(self, proving: "Proving", plans_max: int | None, *, is_wanted: bool) -> bool:
        """Cover plans; returns whether nobody interrupted it."""

        def work(crew: "Crew", bar: exploring.Bar | None) -> None:
            told = None if bar is None else lambda covered, known: bar(covered, known, "plans")
            proving.run(crew, plans_max=plans_max, counts_only=self.count, told=told)

        workers = exploring.read_workers(self.jobs, self.cluster)
        return exploring.make_runs("prove", workers, work, is_wanted=is_wanted)


def _within(name: str, value: int | None, limit: int) -> int | None:
    if value is not None and not 1 <= value <= limit:
        raise OptionError(f"--{name} must be from 1 to {limit:,}, not {value:,}")
    return value


def _page(proof: "Proof", *, is_quiet: bool) -> "Iterable[RenderableType]":
    from lab.checks.check import times
    from lab.cli import render

    orders = "orders of a file" if proof.orders is None else times(proof.orders, "order")
    yield render.verdict_line(
        f"{proof.scenario}   {orders}   up to {_faults(proof.faults_max)}",
        proof.verdict,
        _how_far(proof),
    )
    if is_quiet:
        return
    rows = [("", ""), *((_faults(level.faults), _level(level)) for level in proof.levels)]
    for level in proof.levels:
        rows += [("Left out", f"{one.plans:,}: {one.rule}") for one in level.left_out]
    if proof.broken is not None:
        rows += [
            ("Broken", proof.broken.promise),
            ("Witness", proof.broken.witness),
            *(
                ("Fault", text or f"{one.kind}@{one.site}")
                for one, text in zip(proof.broken.firings, proof.broken.faults, strict=True)
            ),
        ]
        if proof.broken.run_dir is not None:
            rows.append(("Files", proof.broken.run_dir))
    rows.append(("Kinds", ", ".join(proof.kinds)))
    rows += [("Note", note) for note in proof.notes]
    yield render.labelled(rows)
    if proof.broken is not None:
        yield from render.command_lines("Again", [proof.broken.reproduce])


def _faults(count: int) -> str:
    from lab.checks.check import times

    return times(count, "fault")


def _level(level: "ProofLevel") -> str:
    if level.plans is None:
        return "nobody has counted its plans yet"
    return f"{level.covered:,} of {level.plans:,} plans held"


def _how_far(proof: "Proof") -> str:
    if proof.verdict == "FAIL":
        return f"{proof.covered:,} smaller or earlier plans held"
    if proof.verdict == "PASS":
        return f"all {proof.covered:,} plans held"
    share = 100 * proof.covered / max(1, proof.covered + proof.left)
    about = "about " if any(level.plans is None for level in proof.levels) else ""
    return (
        f"{share:.1f}% covered: {proof.covered:,} plans held, {about}{proof.left:,} are left, "
        f"{_length(proof.left_s)} more"
    )


def _length(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"
