"""Faults that fired, one by one, and the file that keeps them: the explicit plan of a run.

Not here: deciding what fires (`plan.py`).
"""

from typing import Final

import msgspec

from lab.faults.vocabulary import parse_faults

VERSION: Final = 1


class PlanError(ValueError):
    """A plan file that cannot be used; the message says why."""


class Firing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fault that fired, or is to fire.

    Attributes:
        site: a process, if `subject` is "" and the fault struck at a time.
        occurrence: which visit of the subject to the site it was, from 1.
        t_us: when, since the faults began; decides only for a process struck at a time.
        params: what the injector needs to know, in microseconds where it is a length.
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
    return file
