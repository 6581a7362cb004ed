"""Which orders of a run are worth a look, and why: one choice for reports and stories.

Not here: what is shown of them.
"""

from collections.abc import Sequence
from typing import Final

from lab.faults.table.spec import ordinal_of
from lab.story.words import sentence

WITNESSES_MAX: Final = 3


def chosen_orders(
    witnesses: Sequence[tuple[str, str, int | None]],
    *,
    hit_most: str,
    hits: int,
    slowest: str,
    slowest_took: str,
) -> dict[int, str]:
    """Ordinals of orders, the most telling first, each with the reason in a sentence.

    Args:
        witnesses: of each broken promise its name, the witness and the order of it.
        hit_most: the order that most faults struck, `hits` times; "" if they struck none.
        hits: see `hit_most`.
        slowest: the order that took longest; "" if none ended.
        slowest_took: how long, in words.
    """
    chosen: dict[int, str] = {}
    for name, witness, order in witnesses:
        if order is not None and len(chosen) < WITNESSES_MAX:
            chosen.setdefault(order, sentence(f"The witness of {name}: {witness}"))
    if not chosen and hit_most:
        told = f"{hits:,} faults struck it: more than any other order."
        if hits == 1:
            told = "The first order that a fault struck."
        chosen[ordinal_of(hit_most)] = told
    if slowest:
        ordinal = ordinal_of(slowest)
        told = f"The slowest order: it took {slowest_took} to its end."
        chosen[ordinal] = f"{chosen[ordinal]} {told}" if ordinal in chosen else told
    return chosen
