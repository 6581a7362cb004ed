"""`lab search`: a scenario under many seeds, and the ways in which it breaks promises.

Not here: spreading the runs (`spread`), and grouping what they found (`findings`).
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from lab.explore.findings import Judged, SearchFinding, add_to, most_often_first, summary_of
from lab.explore.spread import Crew, spread
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import Scenario
from lab.wiring.many_runs import with_seed
from lab.wiring.reproduce import reproduce_line
from lab.wiring.run import run_spec
from lab.wiring.spec import RunSpec, make_spec

SEARCH_SCHEMA_VERSION: Final = 1
SEEDS_A_TASK: Final = 10
"""A task is large beside its price, and small beside the patience of who presses Ctrl-C."""

Told = Callable[[Sequence[Judged], int, int], None]
"""`told(batch, done, total)` after each task: its runs, seeds that are done, seeds in all."""


class SearchError(ValueError):
    """A search that cannot be made; the message says why."""


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What many seeds have shown.

    Attributes:
        verdict: FAIL if a promise broke; else UNKNOWN if a run proved nothing; else PASS.
        partial: interrupted, or ended by `max_failures`: seeds are missing.
        seeds: how many there were to be; runs: how many there were.
        by_verdict: runs of each verdict.
        unknown: the first run that proved nothing, with its reason; null: there is none.
        findings: see `SearchFinding`, the most frequent first.
    """

    schema_version: int
    scenario: str
    verdict: Literal["PASS", "FAIL", "UNKNOWN"]
    partial: bool
    seeds: int
    runs: int
    by_verdict: dict[str, int]
    unknown: Judged | None
    findings: tuple[SearchFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One task: some seeds of one scenario.

    Attributes:
        options: of the runs; the scenario stands in them, so that a worker needs no file.
    """

    options: RunOptions
    seeds: tuple[int, ...]


class Searching:
    """One search, from its question to its result; it can be ended after each task.

    Args:
        options: of every run; their seed does not count.
        seeds: in the order in which they are run.
        max_failures: it ends when so many runs have failed; None: it goes on to the last seed.

    Attributes:
        question: what is asked of each seed: equal for two searches of which one can go on where
            the other ended.
        runs: what is known; those of an earlier part of the same search may be put in.

    Raises:
        SearchError: the runs would not be simulated.
        ScenarioError, SettingError, FaultError: see `make_spec`.
    """

    def __init__(
        self,
        options: RunOptions,
        seeds: Sequence[int],
        *,
        max_failures: int | None = None,
    ) -> None:
        spec = make_spec(options)
        if spec.world.is_live:
            raise SearchError(
                "a search runs in the simulated world, where a seed is a run: leave --real, --bus, "
                "--store, --dedupe and --wall-clock out; for real runs: lab run NAME --real --seeds"
            )
        self.question = _question(spec)
        self.runs: list[Judged] = []
        self._options = replace(options, scenario=plain(spec), out=None)
        self._named = spec.scenario.name
        self._seeds = tuple(seeds)
        self._max_failures = max_failures

    def go_on(self, pool: Crew, told: Told | None = None) -> None:
        """Run the seeds that are missing; what was found until an exception stays in `runs`."""
        known = {run.seed for run in self.runs}
        missing = [seed for seed in self._seeds if seed not in known]
        if self._has_enough():
            return
        for batch in spread(pool, run_batch, self._batches(missing)):
            self.runs.extend(batch)
            if told is not None:
                told(batch, len(self.runs), len(self._seeds))
            if self._has_enough():
                return

    def result(self) -> SearchResult:
        """What was found until now."""
        by_verdict = Counter(run.verdict for run in self.runs)
        found: list[SearchFinding] = []
        order = {seed: number for number, seed in enumerate(self._seeds)}
        runs = sorted(self.runs, key=lambda run: order.get(run.seed, len(order)))
        add_to(found, runs)
        unknown = next((run for run in runs if run.verdict == "UNKNOWN"), None)
        verdict: Literal["PASS", "FAIL", "UNKNOWN"] = "PASS" if runs else "UNKNOWN"
        if unknown is not None:
            verdict = "UNKNOWN"
        return SearchResult(
            schema_version=SEARCH_SCHEMA_VERSION,
            scenario=self._named,
            verdict="FAIL" if by_verdict["FAIL"] else verdict,
            partial=len(runs) < len(self._seeds),
            seeds=len(self._seeds),
            runs=len(runs),
            by_verdict={name: by_verdict[name] for name in ("PASS", "FAIL", "UNKNOWN")},
            unknown=unknown,
            findings=tuple(most_often_first(found)),
        )

    def _has_enough(self) -> bool:
        failed = sum(run.verdict == "FAIL" for run in self.runs)
        return self._max_failures is not None and failed >= self._max_failures

    def _batches(self, seeds: Sequence[int]) -> Iterator[Batch]:
        for start in range(0, len(seeds), SEEDS_A_TASK):
            yield Batch(options=self._options, seeds=tuple(seeds[start : start + SEEDS_A_TASK]))


def run_batch(batch: Batch) -> tuple[Judged, ...]:
    """Run the seeds of a task one after the other."""
    spec = make_spec(batch.options)
    return tuple(_judge(with_seed(spec, seed)) for seed in batch.seeds)


def _judge(spec: RunSpec) -> Judged:
    result = run_spec(spec)
    if result.partial:
        # The run has taken Ctrl-C for itself.
        raise KeyboardInterrupt
    return summary_of(result)


def plain(spec: RunSpec) -> Scenario:
    """The scenario of a run; it is not run once more without faults to compare costs."""
    return replace(spec.scenario, compares=False)


def _question(spec: RunSpec) -> str:
    """The command of a run without its seed, and a sum of its scenario."""
    words = shlex.split(reproduce_line(spec))
    at = words.index("--seed")
    content = blake2b(repr(spec.scenario).encode(), digest_size=8).hexdigest()
    return f"{shlex.join(words[:at] + words[at + 2 :])} [{content}]"
