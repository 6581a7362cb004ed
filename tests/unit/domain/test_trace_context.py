"""The trace context of an order, as a client hands it over and as its events hand it on."""

import pytest

from lab.domain.trace_context import child_of, continued, joined, parted

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
EVENT_ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (PARENT, "01"),
        (f" {PARENT}\t", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-03", "03"),
        # Flags that nobody knows are not handed on.
        (f"00-{TRACE}-{SPAN}-ff", "03"),
        # A later version is read as far as it is known.
        (f"cc-{TRACE}-{SPAN}-01", "01"),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", "01"),
    ],
)
def test_a_client_s_trace_is_continued_with_its_span_and_flags(given: str, flags: str) -> None:
    assert continued(given, "") == f"00-{TRACE}-{SPAN}-{flags}"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        PARENT[:-1],
        f"{PARENT}-",
        f"{PARENT}.",
        f"{PARENT}, {PARENT}",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        PARENT.upper(),
        f"00-{TRACE[:-1]}é-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"0x-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_begins_no_trace_and_its_state_goes_with_it(given: str) -> None:
    assert continued(given, "vendor=1") == ""


@pytest.mark.parametrize("state", ["a=1", "a=1,b=2", "a=1, b=2", "x" * 512])
def test_the_state_goes_with_the_trace_and_no_event_loses_it(state: str) -> None:
    context = continued(PARENT, state)
    assert parted(context) == (PARENT, state)
    child = parted(child_of(context, EVENT_ID))
    assert child == (f"00-{TRACE}-{EVENT_ID[:16]}-01", state)


@pytest.mark.parametrize("state", ["", " ", "x" * 513, "ä=1", "a=\0b", "a\n=1"])
def test_a_state_that_is_none_is_left_out(state: str) -> None:
    assert continued(PARENT, state) == joined(PARENT, state) == PARENT
    assert parted(PARENT) == (PARENT, "")
