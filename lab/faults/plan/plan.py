"""The fault plan of one run: decides at each visit of a site if a fault fires, and keeps the list.

The plan and its counters belong to the supervisor: a process that is killed takes none of it along.
A decision is a keyed coin over (kind, site, intended order, occurrence), so a higher rate contains
a lower one and switching a pattern off moves no fault; only `max` depends on the order of visits.
The list of firings is the explicit plan, which can be run again instead of the coins.

Not here: the effect of a fault (the injectors), and its timers (`nemesis.py`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from lab.faults.plan.conditions import Conditions, counts, is_conditional, is_plain
from lab.faults.plan.file import (
    VERSION,
    Firing,
    PlanError,
    PlanFile,
    PlannedRun,
    read_plan,
    timed_firing,
    write_plan,
)
from lab.faults.table.spec import FaultSpec, ordinal_of
from lab.history.recorder import Now, Write
from lab.ports.chance import Chance, Draw

__all__ = ["FaultPlan", "Firing", "PlanError", "Site", "intent_of", "read_plan"]

SUBJECTS_REMEMBERED: Final = 131_072
"""Visits of a subject to a site are counted as long as at most so many others come in between."""


class FaultPlan:
    """All faults of one run.

    Nothing fires before `begin` or after `heal`, and visits are not counted then.

    Args:
        specs: the faults that were asked for.
        seed: of the run, for the file only.
        chance: tosses the coins.
        now_us: the clock of the run; windows and times count from `begin`.
        write: takes the history's entries, or None.
        explicit: firings to be run instead of the coins (`specs` are kept for the file).
    """

    def __init__(
        self,
        specs: Sequence[FaultSpec] = (),
        *,
        seed: int,
        chance: Chance,
        now_us: Now,
        write: Write | None = None,
        explicit: Sequence[Firing] | None = None,
    ) -> None:
        self.specs = tuple(specs)
        self.seed = seed
        self.chance = chance
        self.firings: list[Firing] = []
        self.is_active = False
        self.is_healed = False
        self._now_us = now_us
        self._write = write
        self._began_us = 0
        self._fired_of: dict[int, int] = {}
        self._sites: dict[tuple[str, str], Site] = {}
        self._sites_of: dict[str, tuple[str, ...]] = {}
        self._explicit = None if explicit is None else tuple(explicit)
        self._pending = {_coin_of(firing): firing for firing in explicit or ()}

    # ---- the run

    def begin(self) -> None:
        """From now on faults fire."""
        self.is_active = True
        self._began_us = self._now_us()

    def heal(self) -> None:
        """No fault fires any more."""
        self.is_active = False
        self.is_healed = True

    def now_us(self) -> int:
        """Time since the faults began."""
        return self._now_us() - self._began_us

    # ---- sites and timetable

    def wants(self, kind: str, *sites: str) -> bool:
        """Whether a fault of that kind can fire on a visit to one of `sites` (none given: at all).

        An injector that is not wanted need not be installed. Faults that strike at a time do not
        count: they are the nemesis's (`timetable`).
        """
        wanted = self.sites(kind)
        return bool(wanted) and (not sites or any(site in wanted for site in sites))

    def sites(self, kind: str) -> tuple[str, ...]:
        """The sites at which a fault of that kind can fire on a visit."""
        known = self._sites_of.get(kind)
        if known is not None:
            return known
        if self._explicit is not None:
            found = [f.site for f in self._explicit if f.kind == kind and not f.is_timed]
        else:
            found = [site for spec in self.specs if spec.kind == kind for site in spec.sites]
        sites = self._sites_of[kind] = tuple(dict.fromkeys(found))
        return sites

    def at(self, kind: str, site: str) -> "Site":
        """The one counter of visits to a site; it survives the processes that visit it."""
        found = self._sites.get((kind, site))
        if found is None:
            planned = self._pending if self._explicit is not None else None
            rules = () if planned is not None else self._rules(kind, site)
            found = self._sites[kind, site] = self._make_site(kind, site, rules, planned)
        return found

    def first(self, sites: "Sequence[Site]", subject: str) -> Firing | None:
        """Count a visit to each of `sites`; the firing of the first whose coin asks for one.

        The others count all the same, so that adding a fault moves no other.
        """
        found: Firing | None = None
        for site in sites:
            occurrence = site.visit(subject)
            if occurrence and found is None:
                found = site.toss(subject, occurrence)
        if found is not None:
            self.record(found)
        return found

    def timetable(self) -> tuple[Firing, ...]:
        """The firings that strike a process or a server at a time, by time."""
        if self._explicit is not None:
            timed = [firing for firing in self._explicit if firing.is_timed]
        else:
            timed = [
                timed_firing(spec, number)
                for number, spec in enumerate((s for s in self.specs if s.is_timed), 1)
            ]
        return tuple(sorted(timed, key=lambda firing: firing.t_us))

    # ---- firings

    def record(self, firing: Firing) -> None:
        """A fault fires now: write it into the list and the history, before it takes effect."""
        self.firings.append(firing)
        self._pending.pop(_coin_of(firing), None)
        if self._write is not None:
            self._write(
                (
                    "fault",
                    self._now_us(),
                    "run",
                    firing.subject,
                    firing.kind,
                    firing.site,
                    firing.occurrence,
                    firing.lasts_us,
                )
            )

    def record_end(self, firing: Firing) -> None:
        """The effect of `firing`, which lasted, is over."""
        if self._write is not None:
            entry = ("fault_end", self._now_us(), "run", "", firing.kind, firing.site)
            self._write(entry)

    def unreached(self) -> tuple[Firing, ...]:
        """The firings of an explicit plan whose visit never came."""
        return tuple(self._pending.values())

    def to_json(self, run: PlannedRun | None = None) -> bytes:
        """The explicit plan, as `plan.json`; `run` is the one that it belongs to."""
        return write_plan(
            PlanFile(
                version=VERSION,
                seed=self.seed,
                asked=tuple(spec.text for spec in self.specs),
                firings=tuple(self.firings),
                run=run,
            )
        )

    # ---- for sites

    def has_room(self, number: int) -> bool:
        """Whether the spec with that number may fire: it has not reached its `max`."""
        limit = self.specs[number].max_firings
        return not limit or self._fired_of.get(number, 0) < limit

    def count(self, number: int) -> None:
        """The coin of the spec with that number asked for a firing once more."""
        self._fired_of[number] = self._fired_of.get(number, 0) + 1

    def _make_site(
        self,
        kind: str,
        site: str,
        rules: "tuple[tuple[int, FaultSpec], ...]",
        planned: "Mapping[tuple[str, str, str, int], Firing] | None",
    ) -> "Site":
        return Site(self, kind, site, rules, planned)

    def _rules(self, kind: str, site: str) -> "tuple[tuple[int, FaultSpec], ...]":
        return tuple(
            (number, spec)
            for number, spec in enumerate(self.specs)
            if spec.kind == kind and site in spec.sites
        )


class Site:
    """Visits to one site, and the coins that are tossed there. Made by `FaultPlan.at`."""

    __slots__ = (
        "_coin",
        "_conditional",
        "_conditions",
        "_marked",
        "_old",
        "_plain",
        "_plan",
        "_planned",
        "_rules",
        "_young",
        "kind",
        "name",
    )

    def __init__(
        self,
        plan: FaultPlan,
        kind: str,
        name: str,
        rules: tuple[tuple[int, FaultSpec], ...],
        planned: "Mapping[tuple[str, str, str, int], Firing] | None",
    ) -> None:
        self.kind = kind
        self.name = name
        self._plan = plan
        self._rules = rules
        self._planned = planned
        self._conditional = [number for number, spec in rules if is_conditional(spec)]
        # Most sites have one fault, and nothing but its rate decides.
        self._plain = rules[0][1] if len(rules) == 1 and is_plain(rules[0][1]) else None
        self._conditions = Conditions()
        # Made when it is tossed first: no coin is, of an explicit plan.
        self._coin: Draw | None = None
        self._marked: dict[str, Firing] = {}
        # Two generations, so that a run of any length counts in bounded memory.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    @property
    def is_active(self) -> bool:
        """Whether faults may fire: the plan has begun and is not healed."""
        return self._plan.is_active

    @property
    def asked(self) -> tuple[FaultSpec, ...]:
        """The faults that were asked for here; none in an explicit plan."""
        return tuple(spec for _, spec in self._rules)

    @property
    def planned(self) -> tuple[str, ...] | None:
        """The intended orders that an explicit plan still hits here; None without such a plan."""
        if self._planned is None:
            return None
        mine = (self.kind, self.name)
        return tuple(dict.fromkeys(who for *site, who, _ in self._planned if (*site,) == mine))

    def fires(self, subject: str) -> Firing | None:
        """Count a visit; returns the recorded firing if the fault fires."""
        firing = self.tosses(subject)
        if firing is not None:
            self.strike(firing)
        return firing

    def fires_once(self, subjects: Sequence[str]) -> Firing | None:
        """As `fires`, one after the other, until the fault fires for one of them."""
        for subject in subjects:
            firing = self.fires(subject)
            if firing is not None:
                return firing
        return None

    def tosses(self, subject: str) -> Firing | None:
        """Count a visit; returns the firing that its coin asks for. `strike` records it."""
        occurrence = self.visit(subject)
        return self.toss(subject, occurrence) if occurrence else None

    def marks(self, subject: str) -> Firing | None:
        """Whether the fault belongs to the subject: the first visit of its order decides.

        Recorded for each subject: a client that sends twice has two. One that is marked stays
        marked after heal: the same record may be sent once more.
        """
        marked = self._marked
        firing = marked.get(subject)
        if firing is not None or not self._plan.is_active:
            return firing
        who = intent_of(subject)
        firing = marked.get(who)
        if firing is None:
            firing = self.toss(subject, 1)
        else:
            firing = msgspec.structs.replace(firing, subject=subject, t_us=self._plan.now_us())
        if firing is not None:
            marked[who] = marked[subject] = firing
            self.strike(firing)
        return firing

    def visit(self, subject: str) -> int:
        """Count a visit; returns its number from 1, or 0 while no fault may fire."""
        if not self._plan.is_active:
            return 0
        who = intent_of(subject)
        young = self._young
        seen = young.get(who)
        if seen is None:
            if len(young) >= SUBJECTS_REMEMBERED:
                self._old, self._young = young, {}
                young = self._young
            seen = self._old.get(who, 0)
        young[who] = seen = seen + 1
        return seen

    def toss(self, subject: str, occurrence: int) -> Firing | None:
        """The firing that the coin of this visit asks for; `strike` records it."""
        who = intent_of(subject)
        plain = self._plain
        if plain is not None:
            coin = (self._coin or self._own_coin())(who, occurrence)
            return self._firing(plain, subject, occurrence) if coin < plain.rate else None
        if self._planned is not None:
            planned = self._planned.get((self.kind, self.name, who, occurrence))
            return planned and msgspec.structs.replace(
                planned, subject=subject, t_us=self._plan.now_us()
            )
        coin = -1.0
        for number, spec in self._rules:
            if not counts(spec, occurrence) or not self._applies(number, spec, subject):
                continue
            if spec.rate < 1.0:
                if coin < 0.0:
                    coin = (self._coin or self._own_coin())(who, occurrence)
                if coin >= spec.rate:
                    continue
            if spec.max_firings:
                self._plan.count(number)
            return self._firing(spec, subject, occurrence)
        return None

    def _own_coin(self) -> Draw:
        self._coin = self._plan.chance.under("fault", self.kind, self.name)
        return self._coin

    def strike(self, firing: Firing) -> None:
        """The fault takes effect now: record it."""
        self._plan.record(firing)

    def _applies(self, number: int, spec: FaultSpec, subject: str) -> bool:
        if spec.subjects is not None and not spec.subjects.chooses(ordinal_of(subject)):
            return False
        if spec.max_firings and not self._plan.has_room(number):
            return False
        return number not in self._conditional or self._conditions.hold(
            number, spec, self._plan.now_us()
        )

    def _firing(self, spec: FaultSpec, subject: str, occurrence: int) -> Firing:
        params: dict[str, int | str] = {}
        for name, value in spec.params.items():
            if isinstance(value, tuple):
                low, high = value
                u = self._plan.chance.u("span", self.kind, name, intent_of(subject), occurrence)
                params[name] = low + int(u * (high - low + 1))
            else:
                params[name] = value
        return Firing(
            kind=self.kind,
            site=self.name,
            subject=subject,
            occurrence=occurrence,
            t_us=self._plan.now_us(),
            params=params,
        )


# Every visit asks for it, and an order visits some sixty times.
@lru_cache(maxsize=1_024)
def intent_of(subject: str) -> str:
    """The intended order of a subject: its visits are counted together, whichever send they are of.

    Otherwise `first=1` would strike a client that repeats a request again and again.
    """
    return subject.partition(".")[0]


def _coin_of(firing: Firing) -> tuple[str, str, str, int]:
    return (firing.kind, firing.site, intent_of(firing.subject), firing.occurrence)
