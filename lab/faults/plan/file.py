"""Faults that fired, one by one, and the file that keeps them: the explicit plan of a run.

The file names its run too, so that it is enough to run it again. Each part has a sum: a plan that
was changed by mistake is refused by name; one without sums was edited on purpose, and is run. Not
here: the decision that a fault fires (`plan.py`), and running a plan (`lab.wiring.replay`).
"""

import re
from hashlib import blake2b
from typing import Final

import msgspec

from lab.did_you_mean import did_you_mean
from lab.faults.table.kinds import KINDS
from lab.faults.table.row import PROCESSES
from lab.faults.table.spec import FaultError, FaultSpec, parse_fault

VERSION: Final = 2
_SUM_BYTES: Final = 8
_SUBJECT: Final = re.compile(r"(?:[1-9]\d{0,17}(?:\.[1-9]\d{0,8})?)?")


class PlanError(ValueError):
    """A plan file that cannot be used; the message says why."""


class Firing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fault that fired, or is to fire.

    Attributes:
        site: a process or a server, if the fault strikes at a time; `subject` is "" then.
        occurrence: which visit of the subject to the site it was, from 1.
        t_us: time since the faults began; it matters only for a fault that strikes at a time.
        params: of the injector, lengths in microseconds; a fault that strikes at a time and lasts
            has `for`.
    """

    kind: str
    site: str
    subject: str
    occurrence: int
    t_us: int
    params: dict[str, int | str] = {}

    def number(self, name: str) -> int:
        """A parameter that is a number or a length."""
        value = self.params[name]
        assert isinstance(value, int), name
        return value

    @property
    def lasts_us(self) -> int:
        """The time that its effect lasts by itself; 0 if it does not last."""
        return max((self.number(name) for name in ("for", "by") if name in self.params), default=0)

    @property
    def ends_us(self) -> int:
        """The end of a fault that strikes at a time, counted from the begin of the faults."""
        return self.t_us + (self.number("for") if "for" in self.params else 0)

    @property
    def is_timed(self) -> bool:
        """Whether it strikes a process or a server at a time, not on a visit."""
        kind = KINDS[self.kind]
        return kind.is_outage or (kind.takes_processes and not self.subject)


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run that a plan belongs to.

    Attributes:
        lab: the version that ran it.
        options: everything that was asked for, scenario included; see `lab.wiring.replay`.
        verdict: of the run, "" if it was interrupted; broken: the promises that it broke.
        digest: of its history, "" if it was interrupted or on the wall clock.
        entries: of its history.
    """

    lab: str
    options: dict[str, object]
    verdict: str
    broken: tuple[str, ...]
    digest: str
    entries: int


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`plan.json`: the faults of a run, as they were asked for and as they fired.

    Attributes:
        run: None: it belongs to none that is known.
        sums: of each part, by its name; None: the plan was written or edited by hand.
    """

    version: int
    seed: int
    asked: tuple[str, ...]
    firings: tuple[Firing, ...]
    run: PlannedRun | None = None
    sums: dict[str, str] | None = None


class _AnyPlan(msgspec.Struct):
    """What plans of all versions have."""

    version: int


def write_plan(plan: PlanFile) -> bytes:
    """The plan as `plan.json`, with a sum of each part."""
    summed = msgspec.structs.replace(plan, sums=_sums(plan))
    return msgspec.json.format(msgspec.json.encode(summed), indent=1) + b"\n"


def read_plan(data: bytes) -> PlanFile:
    """The plan that `write_plan` wrote, or somebody by hand.

    Raises:
        PlanError: it is cut off, of another version, was changed, or names what does not exist.
    """
    try:
        version = msgspec.json.decode(data, type=_AnyPlan).version
        if version != VERSION:
            raise PlanError(f"a plan of version {version}; this lab reads version {VERSION}")
        plan = msgspec.json.decode(data, type=PlanFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
        raise PlanError(f"no fault plan: {bad} (it has {len(data):,} bytes)") from None
    if plan.sums is not None:
        _check_sums(plan, plan.sums)
    for number, text in enumerate(plan.asked):
        try:
            parse_fault(text)
        except FaultError as bad:
            raise PlanError(f"asked[{number}]: {bad}") from None
    for number, firing in enumerate(plan.firings):
        wrong = _wrong(firing)
        if wrong:
            raise PlanError(f"firings[{number}].{wrong}")
    return plan


def _sums(plan: PlanFile) -> dict[str, str]:
    """The sum of each part."""
    parts = {"seed": plan.seed, "asked": plan.asked, "firings": plan.firings, "run": plan.run}
    return {
        name: blake2b(
            msgspec.json.encode(part, order="deterministic"), digest_size=_SUM_BYTES
        ).hexdigest()
        for name, part in parts.items()
    }


def _check_sums(plan: PlanFile, told: dict[str, str]) -> None:
    """Refuse a plan of which a part is not the one that was written.

    Raises:
        PlanError: names the part.
    """
    for part, found in _sums(plan).items():
        if told.get(part) != found:
            raise PlanError(
                f"{part}: this part was changed after the plan was written (its sum is {found}, "
                f"not {told.get(part, 'there')}); restore it, or take out `sums` to run the plan "
                "as one of your own"
            )


def _wrong(firing: Firing) -> str:
    """The first field of a firing with a value that cannot be, and why; "" if all can."""
    kind = KINDS.get(firing.kind)
    if kind is None:
        return f"kind: unknown kind of fault {firing.kind!r}{did_you_mean(firing.kind, KINDS)}"
    if _SUBJECT.fullmatch(firing.subject) is None:
        return f"subject: {firing.subject!r} is no order, which is like 7.1"
    group = firing.site.partition("-")[0]
    if firing.site not in kind.sites and not (firing.is_timed and group in PROCESSES):
        return (
            f"site: {kind.name} has no site {firing.site!r}{did_you_mean(firing.site, kind.sites)}"
        )
    if firing.occurrence < 1 or firing.t_us < 0:
        name = "occurrence" if firing.occurrence < 1 else "t_us"
        return f"{name}: too small: {getattr(firing, name)}"
    known = {param.name: param for param in kind.params}
    for name, value in firing.params.items():
        is_number = name == "for" or (name in known and not isinstance(known[name].default, str))
        if name not in known and name != "for":
            return f"params: {kind.name} has no {name!r}{did_you_mean(name, [*known, 'for'])}"
        if isinstance(value, int) != is_number:
            return f"params.{name}: {value!r} is no {'number' if is_number else 'word'}"
    missing = [name for name in known if name not in firing.params and not firing.is_timed]
    return f"params: {missing[0]!r} is missing" if missing else ""


def timed_firing(spec: FaultSpec, number: int) -> Firing:
    """The one firing of a fault that strikes at a time; `number` tells it from others."""
    params = {name: value for name, value in spec.params.items() if not isinstance(value, tuple)}
    if spec.until_us is not None:
        params["for"] = spec.until_us - spec.at_us
    return Firing(
        kind=spec.kind,
        site=spec.process,
        subject="",
        occurrence=number,
        t_us=spec.at_us,
        params=params,
    )
