"""The hint of a message that refuses an unknown name: the known name that is most like it."""

import difflib
from collections.abc import Iterable


def did_you_mean(
    name: str, known: Iterable[str], *, prefix: str = "", likeness_min: float = 0.4
) -> str:
    """`; did you mean X?`, to be put behind a message; "" if no known name is like it.

    Args:
        name: the unknown one.
        known: every name that would have been right.
        prefix: stands before the known name in the hint.
        likeness_min: a known name less like `name` than this is no hint; 0 to 1, see
            `difflib.SequenceMatcher.ratio`.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness_min)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
