"""Puts together what a report of a kept run shows: its result, its course, the way of some orders.

Not here: what the page looks like (`lab.report.html`), and which folder a name means (`lab.cli`).
"""

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from lab.history.history_file import WHOLE_UP_TO
from lab.report.course import Course, CourseFold
from lab.report.html.beside import beside_page
from lab.report.html.page import OrderWay, RunPage, run_page
from lab.report.html.words import broken, count, length
from lab.report.result import Result
from lab.scenarios.loader import ScenarioError, find_scenario, load_catalogue
from lab.settings import SIMULATED, WALL_CLOCK, settings_for
from lab.settings_table import SETTINGS, Value
from lab.story.choice import chosen_orders
from lab.wiring.seen_orders import see_orders
from lab.wiring.seen_run import SeenRun


class RunReport:
    """What a report of one run is made from.

    Args:
        folder: of the run.
        course: of the whole run, if somebody counted while it went; None: as far as its history
            was kept.

    Raises:
        HistoryError: see `SeenRun`.
    """

    def __init__(self, folder: Path, course: Course | None = None) -> None:
        fold = CourseFold()
        self.run = SeenRun(folder, fold)
        self._kept = fold.course()
        self.course = course or self._kept
        self.missing = tuple(self._missing(is_counted=course is not None))

    def html(self) -> str:
        """The page about this run."""
        return run_page(replace(self.page(), ways=tuple(self._ways())))

    def html_beside(self, other: "RunReport") -> str:
        """The page about this run and another one."""
        return beside_page(self.page(), other.page())

    def page(self) -> RunPage:
        """What a page shows of it, but for the ways of its orders."""
        result = self.run.result
        return RunPage(
            result=result,
            course=self.course,
            story=_story(result),
            changed=tuple(_changed(result)),
            missing=self.missing,
            commands=tuple(self._commands()),
        )

    def _missing(self, *, is_counted: bool) -> Iterable[str]:
        if self.run.is_whole:
            return
        all_orders, kept = self.run.result.orders.accepted, self._kept.accepted
        yield (
            f"This run has more than {WHOLE_UP_TO:,} orders, so its history keeps "
            f"{kept:,} of {count(all_orders, 'accepted order')}: the first ones, and those that a "
            "fault hit. "
            + (
                "The charts show every order: they were counted while the run went. The ways of "
                "orders are of those that were kept."
                if is_counted
                else "The charts and the ways of orders are made from these alone. Run it again "
                "with --html FILE to have all counted, or with --history all to keep everything."
            )
        )

    # ---- the way of some orders

    def _ways(self) -> Iterable[OrderWay]:
        chosen = self._chosen()
        seen = see_orders(self.run, chosen)
        for ordinal, why in chosen.items():
            yield OrderWay(ordinal=ordinal, why=why, steps=seen[ordinal].steps())

    def _chosen(self) -> dict[int, str]:
        """Which orders are worth a look, and why."""
        kept = self._kept
        bad = [(one.name, one.witness, one.witness_order) for one in broken(self.run.result)]
        return chosen_orders(
            bad,
            hit_most=kept.hit_most,
            hits=kept.hits,
            slowest=kept.slowest,
            slowest_took=length(kept.slowest_us),
        )

    # ---- how to go on

    def _commands(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        result, name = self.run.result, self.run.run_id
        yield "Exactly this run again", (result.reproduce,)
        yield "What to try next", tuple(one for one in result.next if one != result.reproduce)
        more = [f"lab ship {name}", f"lab report {name} --beside OTHER"]
        yield (
            "Look further: its traces and logs in Kibana, its numbers beside those of another",
            (*more,),
        )


def _story(result: Result) -> str:
    """The story of a shipped scenario; "" if the run was of another one."""
    try:
        scenario = find_scenario(load_catalogue(()), result.scenario)
    except ScenarioError:
        return ""
    return scenario.story if scenario.summary == result.summary else ""


def _changed(result: Result) -> Iterable[tuple[str, str, str, str]]:
    profile = WALL_CLOCK if result.settings_profile == WALL_CLOCK else SIMULATED
    defaults = settings_for(profile).values  # type: ignore[arg-type]  # one of two words
    for setting in SETTINGS:
        here, default = result.settings.get(setting.name), defaults[setting.name]
        if here is not None and here != default:
            unit = f" {setting.unit}" if setting.unit else ""
            told = setting.meaning
            yield setting.name, f"{_value(here)}{unit}", f"{_value(default)}{unit}", told


def _value(value: Value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
