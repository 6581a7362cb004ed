"""The entry from which on a promise could not be kept any more.

A promise of safety is broken by a prefix of the history: whatever comes after the last entry of the
shortest such prefix, it stays broken. That entry is found by judging prefixes. A promise that is
judged when the run is over (of liveness, or of what is owed) has none: there it is the death of a
process that had the order in its hand, or the last thing that anybody did.

Not here: the words for it (`told`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from lab.checks.check import Verdict
from lab.checks.checker import Checker
from lab.checks.contract import Contract
from lab.history.entries import Entry, kind_of, subject_of

SAMPLES: Final = 24
_NUMBERS: Final = re.compile(r"[0-9][0-9.,]*")
_AT_THE_END: Final = frozenset({"phase", "left", "order_truth", "revenue_truth"})
_BOOKKEEPING: Final = _AT_THE_END | {"committed", "position", "held", "fault_end", "admitted"}
_BY_NOBODY: Final = frozenset({"client", "store", "bus", "ledger", "run"})

_DEATHS: Final = ("kill", "exited", "aborted")

Broken = Callable[[int], bool]
"""Whether the first so many entries break the promise."""


def turning_point(
    entries: Sequence[Entry], contract: Contract, promise: str, witness: str, ordinal: int | None
) -> int | None:
    """The place of the entry that broke a promise for good; None if nothing shows it.

    Args:
        entries: of the order and of the run; or all of them.
        contract: by which the run was judged.
        promise: the name of the broken one.
        witness: in which way it was broken: numbers aside, that is what must be said of it.
        ordinal: of the order that broke it; None: it is about no order.
    """
    shape = _NUMBERS.sub("", witness)

    def is_broken(count: int) -> bool:
        checker = Checker(contract, only=(promise,))
        checker.take(entries[:count])
        (finding,) = checker.findings()
        if finding.verdict is not Verdict.FAIL or _NUMBERS.sub("", finding.witness) != shape:
            return False
        return ordinal is None or finding.subject.partition(".")[0] == str(ordinal)

    if not entries or not is_broken(len(entries)):
        return None
    last = _last_turn(is_broken, len(entries)) - 1
    if kind_of(entries[last]) not in _AT_THE_END:
        return last
    return _last_death(entries[:last], ordinal) or _last_deed(entries[:last], ordinal)


def _last_turn(is_broken: Broken, count: int) -> int:
    """The shortest prefix that stays broken: its length."""
    whole, low = 0, 0
    high = count
    while True:
        while high - low > 1:
            middle = (low + high) // 2
            if is_broken(middle):
                high = middle
            else:
                low = middle
        # A check may hold an order broken that is only not at its end yet.
        step = max((count - high) // SAMPLES, 1)
        mended = next(
            (at for at in range(count - step, high, -step) if at > whole and not is_broken(at)),
            None,
        )
        if mended is None:
            return high
        whole = low = mended
        high = count


def _last_death(entries: Sequence[Entry], ordinal: int | None) -> int | None:
    """The last end of a process that had work of the order in its hand."""
    if ordinal is None:
        return None
    name = str(ordinal)
    in_hand: set[tuple[object, ...]] = set()
    found = None
    for place, entry in enumerate(entries):
        kind, process = kind_of(entry), entry[2]
        if kind == "life" and entry[4] in _DEATHS and any(key[0] == process for key in in_hand):
            found = place
            in_hand = {key for key in in_hand if key[0] != process}
        if subject_of(entry).partition(".")[0] != name:
            continue
        begun, dot, part = kind.partition(".")
        if dot and part == "begin":
            in_hand.add((process, begun))
        elif dot and part == "end":
            in_hand.discard((process, begun))
        elif kind == "deliver":
            in_hand.add((process, "delivery"))
        elif kind == "settle":
            in_hand.discard((process, "delivery"))
    return found


def _last_deed(entries: Sequence[Entry], ordinal: int | None) -> int | None:
    """The last thing that a process did, about the order if it is one's."""
    for place in range(len(entries) - 1, -1, -1):
        entry = entries[place]
        if kind_of(entry) in _BOOKKEEPING or str(entry[2]) in _BY_NOBODY or "unread" in entry:
            continue
        if ordinal is None or subject_of(entry).partition(".")[0] == str(ordinal):
            return place
    return None
