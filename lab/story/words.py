"""Words that steps and single entries share: the deeds of patterns, and lengths of time.

Not here: the words of whole entries (`told`), steps (`steps`).
"""

from collections.abc import Mapping
from typing import Final

SAID: Final[Mapping[str, str]] = {
    "dedupe.suppressed": "a duplicate: suppressed by dedupe",
    "inbox.suppressed": "a duplicate: suppressed by the inbox",
    "dedupe.held": "somebody else has this event in hand",
    "dedupe.busy": "somebody else has this event in hand",
    "dedupe.taken_over": "takes over the claim of a dead owner",
    "dedupe.bypassed": "the dedupe store does not answer: the inbox decides",
    "dedupe.refused": "the dedupe store does not answer: waits",
    "retry.recovered": "done at a later attempt",
    "key_lanes.held": "waits for an earlier event of this order",
    "http_idempotency.replayed": "a repeated request: it gets the answer of the first",
    "provider_key.sent_again": "sent again under the same key",
    "http_idempotency.running": "the first request is still under way: refused",
    "http_idempotency.other_body": "the key was used for another body: refused",
    "dead_letter.repeated": "nobody knew whether it is parked: parked again",
    "redrive.revived": "done, after it had been dead",
    "poison_guard.solo": "runs alone in its process",
    "poison_guard.buried": "given up: its runs kept ending unexplained",
    "outbox.recovered": "found by a new relay",
    "outbox.repeated": "nobody knew whether it is published: published again",
    "compensation.refund_requested": "captured too late: the money is to be given back",
    "timeout.handler": "ended at its deadline",
}
"""The deeds of patterns, as `pattern.deed`."""


def deed(pattern: str, what: str) -> str:
    """What a pattern did, in plain words."""
    if what == "stale":
        return "the order has moved on: nothing to do"
    name = f"{pattern}.{what}"
    return SAID.get(name, name.replace(".", ": ").replace("_", " "))


def length(us: int) -> str:
    """A length of time: `14 ms`, `2.3 s`, `90 s`."""
    ms = us / 1_000
    if ms < 999.5:
        return f"{ms:.0f} ms"
    return f"{ms / 1_000:.3g} s" if ms < 999_500 else f"{ms / 1_000:,.0f} s"


def sentence(text: str) -> str:
    """With a capital at its begin, if that is a word and no name, and a full stop at its end."""
    text = text.strip()
    if not text:
        return ""
    first = text.split(maxsplit=1)[0].rstrip(",:;")
    begin = f"{text[0].upper()}{text[1:]}" if first.isalpha() else text
    return f"{begin}{'' if text[-1] in '.!?' else '.'}"
