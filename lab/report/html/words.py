"""Numbers, lengths of time and verdicts as people read them. No markup."""

from collections.abc import Sequence
from typing import Final

from lab.report.result import CheckResult, Result
from lab.story.words import sentence

LISTED_MAX: Final = 3


def length(us: float) -> str:
    """A length of time with two or three figures: `14 ms`, `2.31 s`, `1 m 02 s`, `5 h 03 m`."""
    ms = us / 1_000
    if ms < 0.05:
        return "0 ms"
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = us / 1_000_000
    if seconds < 99.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} m"
    return f"{whole // 86_400:,} d {whole % 86_400 // 3_600} h"


def round_length(us: float) -> str:
    """A round length of time for an axis: `0`, `50 ms`, `2 s`, `100 s`, `1.5 min`, `3 h`, `2 d`."""
    for unit, of_us in (("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3)):
        # In minutes only what halves of minutes make.
        if us >= of_us and (of_us <= 1e6 or not us / of_us * 2 % 1):
            return f"{us / of_us:,.4g} {unit}"
    return f"{us:.4g} us" if us else "0"


def number(value: float) -> str:
    """A number with thousands apart, and only as many decimals as say something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.1f}"


def percent(part: float, whole: float) -> str:
    """A share."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def count(many: int, noun: str, plural: str = "") -> str:
    """`1 order`, `2 orders`."""
    return f"{many:,} {noun if many == 1 else plural or noun + 's'}"


def often(many: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(many, f"{many:,} times")


def listed(names: Sequence[str], most: int = LISTED_MAX) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 4 more`."""
    shown, more = list(names[:most]), len(names) - most
    if more > 0:
        shown.append(f"{more} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1] if shown else "")))


def broken(result: Result) -> list[CheckResult]:
    """Broken promises, those that the scenario is about first."""
    found = [check for check in result.checks if check.verdict == "FAIL"]
    return sorted(found, key=lambda check: not check.at_risk)


def verdict_sentence(result: Result) -> str:
    """What came out, in one sentence that needs nothing else."""
    judged = sum(check.verdict != "UNKNOWN" for check in result.checks)
    bad = broken(result)
    of = f"{len(bad):,} of {count(judged, 'promise')}"
    was = "was" if len(bad) == 1 else "were"
    names = listed([check.name for check in bad])
    if result.verdict == "FAIL":
        return f"{of} {was} broken: {names}."
    if result.verdict == "PASS":
        every = "The one promise" if judged == 1 else f"All {judged:,} promises"
        return f"{every} that this run put to the test held{_against(result)}."
    if result.beyond_contract:
        told = f"{of} {was} broken: {names}" if bad else "no promise was broken"
        return f"No verdict, because the design does not promise to survive this; {told}."
    return "Nothing was broken, but this run proves nothing."


def proof(result: Result) -> str:
    """What the verdict rests on, in a sentence: the witness, or what did not happen; may be ""."""
    bad = broken(result)
    if bad:
        return sentence(bad[0].witness)
    return sentence(_missing(result)) if result.verdict == "UNKNOWN" else ""


def _against(result: Result) -> str:
    struck = [fault for fault in result.faults if fault.fired]
    fired = sum(fault.fired for fault in struck)
    if not fired:
        return "; nothing went wrong" if result.faults else "; nothing was made to go wrong"
    if len(struck) == 1:
        return f", while {struck[0].name} struck {often(fired)}"
    return f", while {fired:,} faults of {len(struck)} kinds struck"


def _missing(result: Result) -> str:
    """What had to happen and did not."""
    missed = [goal for goal in result.goals if goal.applicable and not goal.reached]
    told = [f"{goal.goal} was to happen and did {_times(goal.count)}" for goal in missed]
    idle = [check.name for check in result.checks if check.at_risk and check.verdict == "UNKNOWN"]
    if idle:
        told.append(f"{listed(idle)} {'was' if len(idle) == 1 else 'were'} never put to the test")
    if result.never_fired:
        told.append(f"{listed(result.never_fired)} never fired")
    if result.partial:
        told.append("the run was interrupted")
    told += [f"{one} is beyond the contract" for one in result.beyond_contract]
    return "; ".join(told) or result.why or "what it is about did not happen"


def _times(many: int) -> str:
    return "not" if not many else f"{count(many, 'time')} only"
