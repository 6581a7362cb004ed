"""The trace context of an order, as a client hands it over and as its events hand it on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.trace_context import child_of, continued, is_plain, made_up, parted

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
EVENT_ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("told", "flags"),
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
def test_a_client_s_trace_is_continued_with_its_span_and_flags(told: str, flags: str) -> None:
    assert continued(told, "") == f"00-{TRACE}-{SPAN}-{flags}"


@pytest.mark.parametrize(
    "told",
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
def test_what_is_no_traceparent_begins_no_trace_and_its_state_goes_with_it(told: str) -> None:
    assert continued(told, "vendor=1") == ""


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1", "a=1"),
        ("a=1,b=2", "a=1,b=2"),
        ("a=1, b=2\t,\tc=3 ,", "a=1,b=2,c=3"),
        ("tenant@vendor=x:y z", "tenant@vendor=x:y z"),
        (f"a={'x' * 256}", f"a={'x' * 256}"),
        # Of one that is too long the first members are kept, which are the latest.
        (f"a={'x' * 250},b={'x' * 250},c={'x' * 250}", f"a={'x' * 250},b={'x' * 250}"),
        (",".join(f"k{n}=1" for n in range(40)), ",".join(f"k{n}=1" for n in range(32))),
    ],
)
def test_the_state_goes_with_the_trace_and_no_event_loses_it(state: str, kept: str) -> None:
    context = continued(PARENT, state)
    assert parted(context) == (PARENT, kept)
    child = parted(child_of(context, EVENT_ID))
    assert child == (f"00-{TRACE}-{EVENT_ID[:16]}-01", kept)


@pytest.mark.parametrize(
    "state", ["", " ", ",,", "a", "a=1,b", "A=1", "=1", "a=b=c", f"a={'x' * 257}", "ä=1", "a=\0b"]
)
def test_a_state_that_is_none_is_left_out(state: str) -> None:
    assert continued(PARENT, state) == PARENT
    assert parted(PARENT) == (PARENT, "")


@pytest.mark.parametrize("odd", [f"\xa0{PARENT}", f"{PARENT}\x85", f"\x1c{PARENT}"])
def test_only_blanks_and_tabs_may_stand_around_it(odd: str) -> None:
    assert continued(odd, "") == ""


@pytest.mark.parametrize("header", [PARENT, f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-03"])
def test_a_plain_header_is_what_the_strict_reader_makes_of_it(header: str) -> None:
    assert is_plain(header.encode())
    assert continued(header, "") == header


@given(st.binary(max_size=60) | st.from_regex(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]"))
def test_what_is_plain_the_strict_reader_leaves_as_it_is(header: bytes) -> None:
    if is_plain(header):
        assert continued(header.decode(), "") == header.decode()


@pytest.mark.parametrize("subject", ["0" * 32, "1.1", "", "01a22b05-dc77-76cd-84da-5a33f3987b04"])
def test_a_trace_that_is_made_up_can_be_continued(subject: str) -> None:
    assert continued(made_up(subject), "") == made_up(subject)
