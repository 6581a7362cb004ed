"""The parts of a row of the fault table, and the places where faults strike.

Not here: the rows themselves (one file a family), and the table (`kinds.py`).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.domain.events import READS

WORLDS: Final = ("simulated", "real")
MS: Final = 1_000

GROUPS: Final = tuple(READS)
PROCESSES: Final = ("api", "relay", *GROUPS)
PROVIDERS: Final = ("warehouse", "antifraud", "payment_gateway", "mailer")
MOVERS: Final = ("payment_gateway", "mailer")
READ_TYPES: Final = tuple(dict.fromkeys(name for types in READS.values() for name in types))
CLIENT: Final = "client"


class ParamType(StrEnum):
    """The form in which the value of a parameter is written."""

    LENGTH = "length of time such as 30s or 500ms"
    SPAN = "length of time such as 500ms, or two such as 50ms..400ms"
    OFFSET = "length of time such as 30s, or -30s for one in the other direction"
    NUMBER = "whole number"
    WORD = "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of a kind, beside those that every kind has.

    Attributes:
        default: in microseconds for lengths; a span has two of them.
        choices: the values that are allowed; empty: any of the type.
        instead_of: a parameter that excludes this one.
        beyond_contract: values with which the design promises nothing.
        within: the policy, a length in milliseconds, up to which the design promises to survive it.
    """

    name: str
    type: ParamType
    default: int | str | tuple[int, int]
    meaning: str
    choices: tuple[int | str, ...] = ()
    instead_of: str = ""
    beyond_contract: tuple[int | str, ...] = ()
    within: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One row of the fault table.

    Attributes:
        per: the visits that its rate counts.
        sites: the places where it can strike; without a site it strikes at `default_sites`.
        only_by_default: the sites of a fault that names none, if they are not all.
        takes_processes: with `at=` it strikes a process at that time, and the site names it.
        is_state: it is a state of a third party: without a count it strikes every visit.
        is_timed: it strikes processes at a time only; at the begin if there is no `at=`.
        lasts: a firing at a time goes on for the length `for=`, and then ends.
        is_outage: it takes down a server, the site, at a time only: `at=` and `for=`, no visits.
        beyond_contract: the design promises nothing against it, with any parameters.
    """

    name: str
    summary: str
    per: str
    sites: tuple[str, ...]
    only_by_default: tuple[str, ...] | None = None
    worlds: tuple[str, ...] = WORLDS
    params: tuple[Param, ...] = ()
    takes_processes: bool = False
    is_state: bool = False
    is_timed: bool = False
    lasts: bool = False
    is_outage: bool = False
    beyond_contract: bool = False

    @property
    def default_sites(self) -> tuple[str, ...]:
        """Where a fault that names no site strikes."""
        return self.sites if self.only_by_default is None else self.only_by_default
