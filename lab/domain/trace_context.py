"""The trace context of an order: which trace it is in, and under which span each event stands.

It travels as one text, so that whoever hands it on hands on all of it: a `traceparent` and, where a
client sent one, a space and its `tracestate`. What others send is read by one strict reader: ids
that are none would make spans that nobody can find. Not here: whose trace an order is in
(`lab.services.orders`).

Source: W3C Trace Context.
"""

import hashlib
import re
from typing import Final

_SPAN_AT: Final = len("00-") + 32 + len("-")
_SPAN: Final = 16
_STATE_MAX: Final = 512
_MEMBERS_MAX: Final = 32
"""Characters and members of a tracestate; of a longer one the first are handed on."""

_BLANK: Final = " \t"
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random trace id; of the others nobody knows what they would promise."""

_is_uuid: Final = re.compile("[0-9a-f]{32}").fullmatch
_is_parent: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
is_plain: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]").fullmatch
"""Whether a header is a traceparent that `continued` leaves as it is: nearly every one."""

_is_member: Final = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,256}").fullmatch


def continued(traceparent: str, tracestate: str) -> str:
    """The trace context that somebody hands over, "" if it is none.

    Args:
        traceparent: the header; of several, which count as none, all between commas.
        tracestate: the header; of several all between commas.
    """
    found = _is_parent(traceparent.strip(_BLANK))
    # Version 00 ends with its flags; a later one may go on.
    if found is None or (found[1] == "00" and found[5] is not None):
        return ""
    flags = int(found[4], 16) & _KNOWN_FLAGS
    parent = f"00-{found[2]}-{found[3]}-{flags:02x}"
    state = _state(tracestate) if tracestate else ""
    return f"{parent} {state}" if state else parent


def made_up(subject: str) -> str:
    """The trace context of an order whose client has none: a function of what it is called.

    An id that is a UUID is the trace's as it is: whoever holds an order finds its trace.
    """
    digits = subject.replace("-", "").lower()
    hashed = hashlib.blake2b(subject.encode("utf-8", "replace"), digest_size=24).hexdigest()
    trace = digits if _is_uuid(digits) and digits.strip("0") else hashed[:32]
    return f"00-{trace}-{hashed[32:]}-01"


def parted(context: str) -> tuple[str, str]:
    """The `traceparent` of a trace context, and its `tracestate` or ""."""
    traceparent, _, tracestate = context.partition(" ")
    return traceparent, tracestate


def child_of(context: str, event_id: str) -> str:
    """The trace context of an event: trace, flags and state of its cause, a span of its own."""
    return f"{context[:_SPAN_AT]}{event_id[:_SPAN]}{context[_SPAN_AT + _SPAN :]}"


def _state(given: str) -> str:
    """What is handed on of a tracestate; "" if one of its members is none."""
    members = [one for part in given.split(",") if (one := part.strip(_BLANK))]
    if not all(map(_is_member, members)):
        return ""
    kept, length = [], 0
    for member in members[:_MEMBERS_MAX]:
        length += len(member) + 1
        if length - 1 > _STATE_MAX:
            break
        kept.append(member)
    return ",".join(kept)
