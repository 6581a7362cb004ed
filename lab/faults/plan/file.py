"""Faults that fired, one by one, and the file that keeps them: the explicit plan of a run.

Not here: the decision that a fault fires (`plan.py`).
"""

from typing import Final

import msgspec

from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import FaultSpec, parse_faults

VERSION: Final = 1


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


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`plan.json`: the faults of a run, as they were asked for and as they fired."""

    version: int
    seed: int
    asked: tuple[str, ...]
    firings: tuple[Firing, ...]


def read_plan(data: bytes) -> PlanFile:
    """The plan that `FaultPlan.to_json` wrote.

    Raises:
        PlanError: it is no plan of this version, or names faults that do not exist.
        FaultError: it was asked for a fault that does not exist.
    """
    try:
        file = msgspec.json.decode(data, type=PlanFile)
    except msgspec.MsgspecError as bad:
        raise PlanError(f"this is no fault plan: {bad}") from None
    if file.version != VERSION:
        raise PlanError(f"plan of version {file.version}; this lab reads version {VERSION}")
    parse_faults(file.asked)
    for firing in file.firings:
        if firing.kind not in KINDS:
            raise PlanError(f"unknown kind of fault {firing.kind!r}")
    return file


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
