"""The trace context of an order: which trace it is in, and under which span each event stands.

It travels as one text, so that whoever hands it on hands on all of it: a `traceparent` and, where a
client sent one, a space and its `tracestate`. Not here: the trace of an order whose client sent
none (`lab.ports.ids`).

Source: W3C Trace Context.
"""

import re
from typing import Final

_SPAN_AT: Final = len("00-") + 32 + len("-")
_SPAN: Final = 16
_STATE_MAX: Final = 512
"""Characters of a tracestate; of a longer one nothing need be handed on."""

_is_parent: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
_is_state: Final = re.compile(r"[ -~]+").fullmatch
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random trace id; of the others nobody knows what they would promise."""


def continued(traceparent: str, tracestate: str) -> str:
    """The trace context that a client hands over, "" if it hands over none that can be read.

    Args:
        traceparent: its header; of several, which count as none, all between commas.
        tracestate: its header; of several all between commas.
    """
    found = _is_parent(traceparent.strip())
    # Version 00 ends with its flags; a later one may go on.
    if found is None or (found[1] == "00" and found[5] is not None):
        return ""
    flags = int(found[4], 16) & _KNOWN_FLAGS
    return joined(f"00-{found[2]}-{found[3]}-{flags:02x}", tracestate)


def joined(traceparent: str, tracestate: str) -> str:
    """One text of both; a tracestate that is too long, or none at all, is left out."""
    state = tracestate.strip()
    is_one = len(state) <= _STATE_MAX and _is_state(state)
    return f"{traceparent} {state}" if is_one else traceparent


def parted(context: str) -> tuple[str, str]:
    """The `traceparent` of a trace context, and its `tracestate` or ""."""
    traceparent, _, tracestate = context.partition(" ")
    return traceparent, tracestate


def child_of(context: str, event_id: str) -> str:
    """The trace context of an event: trace, flags and state of its cause, a span of its own."""
    return f"{context[:_SPAN_AT]}{event_id[:_SPAN]}{context[_SPAN_AT + _SPAN :]}"
