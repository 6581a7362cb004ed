"""The way to write a fault: `kind[@site][#subject][:occurrence] key=value ...`.

    bus.duplicate rate=0.2              every fifth delivery, by keyed coins
    svc.timeout@payment_gateway#every25 first=1
    proc.crash@relay.after_publish#7    order 7, the first time it passes there
    svc.error@mailer status=500 at=10s for=60s
    proc.term@payment at=2s             a process, at a time
    proc.pause@payment-2 at=2s for=60s  a process, at a time and for a while
    clock.jump@payment at=2s by=-5m     a process's clock, at a time
    redis.down at=10s for=30s           a server: an outage has a begin and an end

`rate` is a share of visits; `nth`, `first`, `every` (and `:N`, which is `nth=N`) count the visits
of one subject to one site. With none of them a fault strikes every visit within `at` and `for`, or
without those the first one (every one of a state such as flapping). `#7`, `#1-20`, `#every25`
choose orders by ordinal. `max` counts over the run.

Not here: the list of kinds (`kinds.py`), and the decision to fire (`lab.faults.plan`).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lab.did_you_mean import did_you_mean
from lab.faults.table.kinds import KINDS
from lab.faults.table.providers import DEFAULT_STATUS, DOWN, ERROR, HINTED, NOT_EXECUTED
from lab.faults.table.row import PROCESSES, FaultKind, Param, ParamType

Value = int | str | tuple[int, int]

_HEAD: Final = re.compile(
    r"(?P<kind>[^@#:\s]+)(?:@(?P<site>[^@#:\s]+))?(?:#(?P<subject>[^@#:\s]+))?(?::(?P<nth>[^@#:\s]+))?"
)
_PROCESS: Final = re.compile(rf"(?:{'|'.join(PROCESSES)})(?:-[1-9]\d?)?")
_LENGTH: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(us|ms|s|m|h)")
_UNITS_US: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_COUNT: Final = re.compile(r"[1-9]\d{0,8}")
_COMMON: Final = ("rate", "nth", "first", "every", "at", "for", "max")
_COUNTING: Final = ("nth", "first", "every")


class FaultError(ValueError):
    """A fault cannot be read or does not exist; the message names the part and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Orders chosen by ordinal: every `every`-th one from `low` to `high`."""

    low: int = 1
    high: int = 2**62
    every: int = 1

    def chooses(self, ordinal: int) -> bool:
        """Whether the order with this ordinal is chosen."""
        return self.low <= ordinal <= self.high and ordinal % self.every == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault that was asked for.

    Attributes:
        text: as it was written.
        sites: the places where it can strike; none if it strikes at a time.
        process: a fault that strikes at a time strikes this group, `api`, `relay`, one member such
            as `payment-2`, or the server that an outage takes down; "" for all other faults.
        subjects: None if every order is chosen.
        rate: share of visits in [0, 1].
        nth, first, every: 0 if not asked for.
        at_us, until_us: the window since the faults began, in virtual microseconds.
        max_firings: over the run; 0: no limit.
        params: every parameter of the kind, in microseconds where it is a length.
    """

    text: str
    kind: str
    sites: tuple[str, ...]
    process: str = ""
    subjects: Subjects | None = None
    rate: float = 1.0
    nth: int = 0
    first: int = 0
    every: int = 0
    at_us: int = 0
    until_us: int | None = None
    max_firings: int = 0
    params: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_timed(self) -> bool:
        """Whether it strikes a process or a server at `at_us`, once."""
        return bool(self.process)

    @property
    def is_beyond_contract(self) -> bool:
        """Whether the design promises nothing against it: it needs `--beyond-contract`."""
        kind = KINDS[self.kind]
        return kind.beyond_contract or any(
            self.params.get(param.name) in param.beyond_contract for param in kind.params
        )

    def limits(self) -> Iterator[tuple[str, int, str]]:
        """Parameters with a limit: name, its longest value in us, and the policy that limits it."""
        for param in KINDS[self.kind].params:
            value = self.params.get(param.name)
            if param.within and isinstance(value, tuple):
                yield param.name, value[1], param.within

    def number(self, name: str) -> int:
        """A parameter that is a number or a length."""
        value = self.params[name]
        assert isinstance(value, int), name
        return value


def parse_fault(text: str) -> FaultSpec:
    """The fault that `text` asks for.

    Raises:
        FaultError: it cannot be read, or names something that does not exist.
    """
    words = text.split()
    head = _HEAD.fullmatch(words[0]) if words else None
    if head is None:
        raise _error(text, "is not of the form kind[@site][#subject][:occurrence] key=value ...")
    kind = KINDS.get(head["kind"])
    if kind is None:
        raise _error(text, f"unknown kind {head['kind']!r}{_nearest(head['kind'], KINDS)}")
    given = _pairs(text, kind, words[1:])
    if head["nth"] is not None:
        if "nth" in given:
            raise _error(text, "has both :N and nth=N, which mean the same: leave one out")
        given["nth"] = head["nth"]
    return _Reader(text, kind, given).spec(head["site"], head["subject"])


def parse_faults(texts: Iterable[str]) -> tuple[FaultSpec, ...]:
    """The faults that `texts` ask for, in their order. Raises FaultError."""
    return tuple(parse_fault(text) for text in texts)


def ordinal_of(subject: str) -> int:
    """The ordinal of the order in `ordinal.send`; 0 if the subject is no order."""
    number = subject.partition(".")[0]
    return int(number) if number.isdecimal() and len(number) < 19 else 0


def _pairs(text: str, kind: FaultKind, words: list[str]) -> dict[str, str]:
    known = (*_COMMON, *(param.name for param in kind.params))
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise _error(text, f"{word!r} is not of the form key=value")
        if key not in known:
            raise _error(text, f"unknown key {key!r}{_nearest(key, known)}")
        if key in given:
            raise _error(text, f"key {key!r} is given twice: leave one out")
        given[key] = value
    return given


class _Reader:
    """Turns the parts of one text into a spec."""

    def __init__(self, text: str, kind: FaultKind, given: Mapping[str, str]) -> None:
        self._text = text
        self._kind = kind
        self._given = given

    def spec(self, site: str | None, subject: str | None) -> FaultSpec:
        given, kind = self._given, self._kind
        self._refuse_both()
        counting = [key for key in _COUNTING if key in given]
        if len(counting) > 1:
            raise self._refuse(f"{' and '.join(counting)} contradict each other: leave one")
        if kind.is_outage:
            return self._outage(site, subject)
        if kind.is_timed or self._is_timed(site, counting):
            return self._timed(site, subject)
        sites = self._sites(site)
        at_us = self._length("at") or 0
        for_us = self._length("for")
        counts = {key: self._count(key) for key in (*_COUNTING, "max")}
        is_bare = not any(key in given for key in (*_COUNTING, "rate", "at", "for"))
        if is_bare and not kind.is_state:
            counts["nth"] = 1
        params = {param.name: self._param(param) for param in kind.params}
        if params.get("stored") == "yes" and params.get("status") in NOT_EXECUTED:
            raise self._refuse(
                f"stored=yes contradicts status={params['status']}: a provider stores the answers "
                "to what it executed"
            )
        if params.get("done") == "yes" and params.get("status") not in DOWN:
            raise self._refuse(
                f"done=yes contradicts status={params['status']}: a provider that fails after it "
                "did what it was asked answers with a 5xx"
            )
        self._settle_hint(params)
        return FaultSpec(
            text=self._text,
            kind=kind.name,
            sites=sites,
            subjects=None if subject is None else self._subjects(subject),
            rate=self._rate(),
            nth=counts["nth"],
            first=counts["first"],
            every=counts["every"],
            at_us=at_us,
            until_us=None if for_us is None else at_us + for_us,
            max_firings=counts["max"],
            params=params,
        )

    def _settle_hint(self, params: dict[str, Value]) -> None:
        """Only some answers say when to come back; 503 does not unless it is asked to."""
        if self._kind.name != ERROR:
            return
        status = params["status"]
        if "after" not in self._given:
            if status == DEFAULT_STATUS or status not in HINTED:
                params["after"] = 0
        elif status not in HINTED:
            known = ", ".join(map(str, HINTED))
            raise self._refuse(
                f"after={self._given['after']} means nothing for status={status}, which carries no "
                f"Retry-After: leave it out, or take status {known}"
            )

    def _refuse_both(self) -> None:
        for param in self._kind.params:
            if param.instead_of in self._given and param.name in self._given:
                raise self._refuse(f"{param.name} is instead of {param.instead_of}: leave one")

    def _is_timed(self, site: str | None, counting: list[str]) -> bool:
        given = self._given
        if not self._kind.takes_processes or counting or "rate" in given:
            return False
        is_process = site is not None and _PROCESS.fullmatch(site) is not None
        if "at" in given or (self._kind.lasts and "for" in given):
            return is_process or site not in self._kind.sites
        if is_process and site not in self._kind.sites:
            raise self._refuse(f"{site} is a process, which is struck at a time: add at=30s")
        return False

    def _timed(self, site: str | None, subject: str | None) -> FaultSpec:
        if site is None or _PROCESS.fullmatch(site) is None:
            near = _nearest(site, PROCESSES) if site else ": add @payment or another one"
            why = self._kind.name if self._kind.is_timed else "at="
            raise self._refuse(f"{why} strikes a process, and {site or 'nothing'} is none{near}")
        return self._at_a_time(site, subject, "a process that is struck at a time")

    def _outage(self, site: str | None, subject: str | None) -> FaultSpec:
        (server,) = self._kind.default_sites if site is None else self._sites(site)
        return self._at_a_time(server, subject, "an outage")

    def _at_a_time(self, struck: str, subject: str | None, what: str) -> FaultSpec:
        """A fault with a begin, and an end if it lasts."""
        known = ["at", "for"] if self._kind.lasts else ["at"]
        # A pause has a length of its own only where it strikes a delivery.
        params = () if self._kind.lasts and not self._kind.is_outage else self._kind.params
        known += [param.name for param in params]
        wrong = [key for key in self._given if key not in known]
        if wrong or subject is not None:
            raise self._refuse(
                f"{wrong[0] if wrong else '#' + str(subject)} means nothing for {what}: leave it "
                "out"
            )
        for_us = self._length("for")
        if self._kind.lasts and not for_us:
            raise self._refuse("it has to end some time: add for=30s")
        at_us = self._length("at") or 0
        return FaultSpec(
            text=self._text,
            kind=self._kind.name,
            sites=(),
            process=struck,
            at_us=at_us,
            until_us=None if for_us is None else at_us + for_us,
            params={param.name: self._param(param) for param in params},
        )

    def _sites(self, site: str | None) -> tuple[str, ...]:
        if site is None:
            return self._kind.default_sites
        if site not in self._kind.sites:
            known = self._kind.sites
            raise self._refuse(f"unknown site {site!r}{_nearest(site, known)}")
        return (site,)

    def _subjects(self, text: str) -> Subjects:
        low, dash, high = text.partition("-")
        every = text.removeprefix("every")
        if every != text and _COUNT.fullmatch(every):
            return Subjects(every=int(every))
        if _COUNT.fullmatch(low) and not dash:
            return Subjects(low=int(low), high=int(low))
        if _COUNT.fullmatch(low) and _COUNT.fullmatch(high) and int(low) <= int(high):
            return Subjects(low=int(low), high=int(high))
        raise self._refuse(f"cannot read the orders {text!r}: write #7, #1-20 or #every25")

    def _rate(self) -> float:
        text = self._given.get("rate", "1")
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0 <= rate <= 1:
            raise self._refuse(f"rate must be a number from 0 to 1, not {text!r}")
        return rate

    def _count(self, key: str) -> int:
        text = self._given.get(key)
        if text is None:
            return 0
        if _COUNT.fullmatch(text) is None:
            raise self._refuse(f"{key} must be a whole number from 1, not {text!r}")
        return int(text)

    def _length(self, key: str) -> int | None:
        text = self._given.get(key)
        return None if text is None else self._us(key, text)

    def _us(self, key: str, text: str) -> int:
        found = _LENGTH.fullmatch(text)
        if found is None:
            raise self._refuse(f"{key} must be a {ParamType.LENGTH}, not {text!r}")
        return round(float(found[1]) * _UNITS_US[found[2]])

    def _param(self, param: Param) -> Value:
        text = self._given.get(param.name)
        if text is None:
            return param.default
        value: Value
        match param.type:
            case ParamType.LENGTH:
                value = self._us(param.name, text)
            case ParamType.OFFSET:
                length_us = self._us(param.name, text.removeprefix("-"))
                value = -length_us if text.startswith("-") else length_us
            case ParamType.SPAN:
                low, _, high = text.partition("..")
                value = (self._us(param.name, low), self._us(param.name, high or low))
                if value[0] > value[1]:
                    raise self._refuse(f"{param.name}={text} ends before it begins")
            case ParamType.NUMBER:
                value = self._count(param.name)
            case ParamType.WORD:
                value = text
        if param.choices and value not in param.choices:
            known = ", ".join(map(str, param.choices))
            raise self._refuse(f"{param.name} must be one of {known}, not {text!r}")
        return value

    def _refuse(self, why: str) -> FaultError:
        return _error(self._text, why)


def _error(text: str, why: str) -> FaultError:
    return FaultError(f"fault {text!r}: {why} (see: lab list --faults)")


def _nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or the known names, or nothing if those are too many."""
    names = list(known)
    if hint := did_you_mean(name, names, likeness_min=0.5):
        return hint
    return f"; there are {', '.join(names)}" if len(names) <= 8 else ""
