"""The parts that the drivers of all three worlds share: the phases of a run, and its record.

Not here: the phases themselves (`lab.runner`), and the worlds.
"""

import time
from collections.abc import Iterable
from typing import Protocol

from lab.checks.check import Finding
from lab.faults.plan.plan import FaultPlan
from lab.history.entries import Entry
from lab.history.recorder import Recorder
from lab.report.run_folder import RunFolder
from lab.runner import Progress, RunLimits, World, drive
from lab.scenarios.operator import ScriptedOperator
from lab.scenarios.workload import Workload
from lab.wiring.judging import Sinks
from lab.wiring.outcome import End, Ran
from lab.wiring.spec import TAIL_US, RunSpec


class DrivenWorld(World, Protocol):
    """A world, and the parts of it that a driver needs."""

    spec: RunSpec
    plan: FaultPlan

    @property
    def operator(self) -> ScriptedOperator | None:
        """Looks after dead letters; None: nobody does."""
        ...


async def drive_to_end(
    world: DrivenWorld, workload: Workload, on_progress: Progress | None
) -> None:
    """All phases of a run, as long as its settings let them take."""
    await drive(
        world,
        iter(workload),
        total=workload.total or 0,
        limits=RunLimits(tail_us=TAIL_US, drain_us=world.spec.settings.us("run.drain_ms")),
        operator=world.operator,
        progress=on_progress,
    )


class RunRecord:
    """The history of one run on its way to its readers, and their findings.

    Args:
        spec: of the run.
        workload: its orders.
        folder: takes the history file; None: there is none.
        observe: record and judge; without it the core alone runs, for measurements.

    Attributes:
        recorder: takes the entries; None if nothing is recorded.
    """

    def __init__(
        self,
        spec: RunSpec,
        workload: Workload,
        *,
        folder: RunFolder | None,
        observe: bool = True,
    ) -> None:
        self._spec = spec
        self._workload = workload
        self._sinks = Sinks(spec, folder) if observe else None
        self.recorder = None if self._sinks is None else Recorder(self._sinks.all)
        self._findings: tuple[Finding, ...] = ()
        self._began_ns = time.perf_counter_ns()
        self._wall_ns = 0

    def begin(self) -> None:
        """The first order is about to be posted: the wall time of the run counts from here."""
        self._began_ns = time.perf_counter_ns()

    def take(self, entries: Iterable[Entry]) -> None:
        """Record a history that was merged when the run was over."""
        assert self.recorder is not None, "an unobserved run has no history"
        for entry in entries:
            self.recorder.write(entry)

    def judge(self) -> None:
        """Judge the run: its history is complete. The wall time of the run ends here."""
        if self.recorder is not None and self._sinks is not None:
            self.recorder.flush()
            self._findings = self._sinks.checker.findings()
            if self._sinks.file is not None:
                self._sinks.file.close()
            self.recorder.close()
        self._wall_ns = time.perf_counter_ns() - self._began_ns

    def ran(
        self,
        world: DrivenWorld,
        end: End,
        *,
        is_partial: bool,
        kept: str | None = None,
        left: tuple[str, ...] = (),
    ) -> Ran:
        """The run that was judged; for the arguments see `Ran`."""
        sinks = self._sinks
        digest = None if sinks is None else sinks.digest
        return Ran(
            spec=self._spec,
            workload=self._workload,
            tally=world.client.tally,
            end=end,
            plan=world.plan,
            checker=None if sinks is None else sinks.checker,
            findings=self._findings,
            digest="" if digest is None else digest.hexdigest(),
            entries=0 if self.recorder is None else self.recorder.count,
            wall_ms=self._wall_ns // 1_000_000,
            is_partial=is_partial,
            kept=kept,
            left=left,
        )
