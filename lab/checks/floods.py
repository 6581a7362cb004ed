"""Dead letters and redrives that come too thick, and pauses because of letters that did not.

A subscription pauses when too many of its events die, so that a bug of ours does not empty a topic
into a dead-letter queue; an operator sends letters back at a rate that a mended third party bears.
Not here: the promise (`promises/retries`), and the budget of retries in place (`retry_budget`).
"""

from collections.abc import Iterable
from typing import Final

from lab.checks.contract import Contract
from lab.checks.process_life import ProcessLife
from lab.checks.tables import LIMITER, STORE_DOWN_US
from lab.history.calls import PausedEntry

_LAST: Final = 100
_LAST_MIN: Final = 50
"""The limiter looks at the share of dead events among so many, and never among fewer than these."""

_BURST: Final = 4
"""So many answers may come at once: a round of an operator sends letters back, then discards."""


def note_pause(life: ProcessLife, entry: PausedEntry, contract: Contract) -> None:
    """A subscription pauses: because of its dead letters, or for somebody who is down."""
    life.paused_until_us = max(life.paused_until_us, entry.t_us + entry.for_us)
    most_us = max(contract.breaker_open_us, life.hint_max_us, STORE_DOWN_US)
    if entry.why == LIMITER:
        life.limited.append((entry.t_us, life.fine()))
    elif entry.why == "down" and entry.for_us > most_us + contract.slack_us:
        length, most = f"{entry.for_us / 1e6:.3f}s", f"{most_us / 1e6:.3f}s"
        life.wrong_turns += (f"it paused for {length} instead of {most} at most",)


def needless_pauses(life: ProcessLife, contract: Contract) -> int:
    """How often a process paused because of its dead letters, and there were too few of them.

    A handler that has ended well is known to the limiter a little later: as many as there are
    workers may be in between.
    """
    return sum(not _may_pause(life, t_us, fine, contract) for t_us, fine in life.limited)


def _may_pause(life: ProcessLife, at_us: int, fine: int, contract: Contract) -> bool:
    """Whether one more letter might have been too many, by the letters until then."""
    before = [then for t_us, then in life.letters if t_us <= at_us]
    # Of a small share the first letter is too many.
    for dead, then in enumerate((fine, *reversed(before))):
        others = fine - then
        if dead >= contract.letters_in_a_row and others <= contract.workers:
            return True
        ended = max(dead + others - contract.workers, _LAST_MIN)
        if ended > _LAST:
            return False
        if (dead + 1) * 100 > contract.letters_percent * ended:
            return True
    # Of a row that is longer than what is kept nothing is known.
    return contract.letters_in_a_row > len(life.letters) == life.letters.maxlen


def longest_row(life: ProcessLife, heal_us: int) -> tuple[int, int, int]:
    """Of its letters with no handler between them that ended well, and no pause: see below.

    Returns:
        How many, from when and until when. None counts after `heal_us`.
    """
    longest = (0, 0, 0)
    number = since_us = 0
    before = -1
    pauses = [t_us for t_us, _ in life.limited]
    for t_us, fine in life.letters:
        if t_us >= heal_us:
            break
        if fine != before or any(since_us <= paused_us <= t_us for paused_us in pauses):
            number, since_us = 0, t_us
        before = fine
        number += 1
        if number > longest[0]:
            longest = (number, since_us, t_us)
    return longest


def flood(times_us: Iterable[int], contract: Contract) -> int:
    """How many answers of an operator came sooner than the rate allows."""
    level, last_us, over = 0.0, 0, 0
    late = contract.slack_us * contract.redrive_rate / 1e6
    for t_us in sorted(times_us):
        level = max(level - (t_us - last_us) * contract.redrive_rate / 1e6, 0.0) + 1
        last_us = t_us
        over += level > _BURST + late
    return over
