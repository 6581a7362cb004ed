"""The readers of the history of a run: the checks, the digest and the file that keeps it.

Not here: the way of an entry to them (`lab.history.recorder`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.faults.clock import wrong_by_us
from lab.faults.table.spec import FaultSpec
from lab.history.digest import Digest
from lab.history.history_file import HistoryFile
from lab.history.recorder import Sink
from lab.report.run_folder import RunFolder
from lab.settings import WALL_CLOCK, Settings
from lab.wiring.spec import RunSpec

_REMEMBERED_US: Final = 86_400_000_000
"""An order is remembered at least so long: a shorter dedupe window makes nothing come sooner."""

_SLACK_US: Final = 1_000
_LIVE_SLACK_US: Final = 100_000
"""How unpunctual a timer of a busy machine may be before it counts as late."""

_LIVE_SKEW_US: Final = 50_000
"""Two readings of the clocks that one entry and one header tell of are not one."""

_LIVE_STOP_US: Final = 3_000_000
"""A real process still takes leave of its servers when its work is drained, in bounded time."""

_CUTS_NONE_PERCENT: Final = 60
"""Share of its grace for which a stopping process lets handlers run. `lab.patterns.drain` has it,
and a check must not take it from there."""


@dataclass(slots=True)
class Sinks:
    """The readers of the history of one run; a run on the wall clock has no digest."""

    checker: Checker
    digest: Digest | None
    file: HistoryFile | None
    watch: Sink | None

    def __init__(self, spec: RunSpec, folder: RunFolder | None) -> None:
        self.checker = Checker(contract_of(spec.settings, spec.faults), only=spec.only)
        self.digest = None if spec.world.is_live else Digest()
        self.watch = spec.watch
        self.file = None
        if folder is not None:
            keep_all = spec.options.history == "all"
            self.file = HistoryFile(
                folder.stage("history.ndjson"), keep_all=keep_all, on_error=folder.give_up
            )

    @property
    def all(self) -> tuple[Sink, ...]:
        """Every reader that there is, in the order in which they get an entry."""
        readers: tuple[Sink | None, ...] = (self.checker, self.digest, self.file, self.watch)
        return tuple(one for one in readers if one is not None)


def contract_of(settings: Settings, faults: Sequence[FaultSpec] = ()) -> Contract:
    """The declared policies by which the promises are judged, and how wrong clocks may be."""
    is_live = settings.profile == WALL_CLOCK
    return Contract(
        attempts_max=settings.number("retry.attempts_max"),
        in_place=settings.number("retry.in_place"),
        base_us=settings.us("retry.base_ms"),
        cap_us=settings.us("retry.cap_ms"),
        tiers_us=settings.many_us("retry.tiers_ms"),
        budget_tokens=settings.number("retry.budget_tokens"),
        budget_refill=settings.real("retry.budget_refill"),
        query_after=settings.number("provider_key.query_after"),
        key_trusted_us=settings.us("provider_key.lifetime_ms") // 2,
        handler_us=settings.us("timeout.handler_ms"),
        provider_us=settings.us("timeout.provider_ms"),
        workers=settings.number("bus.workers"),
        max_in_flight=settings.number("bus.max_in_flight"),
        max_uncommitted=settings.number("bus.max_uncommitted"),
        requests=settings.number("api.max_in_flight"),
        window_us=max(settings.us("dedupe.window_ms"), _REMEMBERED_US),
        stop_us=settings.us("api.lame_duck_ms")
        + settings.us("drain.grace_ms")
        + (_LIVE_STOP_US if is_live else 0),
        grace_us=settings.us("drain.grace_ms") * _CUTS_NONE_PERCENT // 100,
        slack_us=_LIVE_SLACK_US if is_live else _SLACK_US,
        breaker_window_us=settings.us("breaker.window_ms"),
        breaker_calls_min=settings.number("breaker.calls_min"),
        breaker_open_us=settings.us("breaker.open_ms"),
        breaker_failures_percent=settings.number("breaker.failures_percent"),
        lease_us=settings.us("dedupe.lease_ms"),
        done_us=settings.us("dedupe.window_ms"),
        letters_in_a_row=settings.number("dead_letter.in_a_row"),
        letters_percent=settings.number("dead_letter.share_percent"),
        redrive_rate=settings.real("operator.rate"),
        expiry_us=settings.us("orders.expiry_ms"),
        max_elapsed_us=settings.us("retry.max_elapsed_ms"),
        redrives=settings.number("operator.redrives"),
        discards=settings.text("operator.discards") == "yes",
        late_us=settings.us("retry.late_ms"),
        skew_us=wrong_by_us(faults) + (_LIVE_SKEW_US if is_live else 0),
    )
