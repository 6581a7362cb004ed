"""Events in binary and in structured mode, and ids that can be used."""

import pytest

from lab.domain.content_mode import (
    as_readable,
    event_id_of,
    event_type_of,
    in_binary_mode,
    is_structured,
)
from lab.domain.envelope import EVENT_ID_BYTES_MAX, Headers, from_headers, to_headers, usable_id
from lab.domain.errors import Poison
from tests.kit.chain_parts import make_record

STRUCTURED: Headers = (("content-type", b"application/cloudevents+json"),)


@pytest.mark.parametrize(
    ("content_type", "is_so"),
    [
        (b"application/cloudevents+json", True),
        (b"Application/CloudEvents+JSON; charset=utf-8", True),
        (b"application/json", False),
        (b"", False),
        (None, False),
    ],
)
def test_the_content_type_says_which_mode_it_is(content_type: bytes | None, *, is_so: bool) -> None:
    assert is_structured(content_type) is is_so


def test_binary_mode_is_left_as_it_is() -> None:
    record = make_record()
    assert in_binary_mode(record.headers, record.value) == (record.headers, record.value)


def test_members_become_headers_and_data_the_value_byte_by_byte() -> None:
    value = (
        b'{"specversion":"1.0","id":"e1","type":"T","source":"/s","sequence":7,"flag":true,'
        b'"none":null,"traceparent":"00-1-2-01","datacontenttype":"text/json","data": {"b" :1}}'
    )
    headers = (*STRUCTURED, ("lab-subject", b"1.1"), ("ce_id", b"another"))

    found, data = in_binary_mode(headers, value)

    assert data == b'{"b" :1}'
    assert dict(found) == {
        "lab-subject": b"1.1",
        "ce_specversion": b"1.0",
        "ce_id": b"e1",
        "ce_type": b"T",
        "ce_source": b"/s",
        "ce_sequence": b"7",
        "ce_flag": b"true",
        "traceparent": b"00-1-2-01",
        "content-type": b"text/json",
    }


def test_encoded_data_is_decoded_and_data_may_be_missing() -> None:
    assert in_binary_mode(STRUCTURED, b'{"id":"e","data_base64":"/wA="}')[1] == b"\xff\x00"
    assert in_binary_mode(STRUCTURED, b'{"id":"e"}') == ((("ce_id", b"e"),), b"")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"id":{}}',
        b'{"id":"\xff"}',
        b'{"data_base64":"?"}',
        b'{"data_base64":1}',
        b'{"data":' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_in_structured_mode_is_poison_and_left_as_it_is(value: bytes) -> None:
    with pytest.raises(Poison, match="no event in structured mode"):
        in_binary_mode(STRUCTURED, value)
    assert as_readable(STRUCTURED, value) == (STRUCTURED, value)
    assert event_id_of(STRUCTURED, value) == event_type_of(STRUCTURED, value) == ""


def test_id_and_type_are_known_in_either_mode() -> None:
    record = make_record()
    structured = b'{"id":"e1","type":"OrderCancelled"}'
    for headers, value in ((record.headers, record.value), (STRUCTURED, structured)):
        assert event_id_of(headers, value) == "e1"
        assert event_type_of(headers, value) == "OrderCancelled"


@pytest.mark.parametrize(
    ("given", "known_as"),
    [
        (b"e1", "e1"),
        ("é".encode(), "é"),
        (b"x" * EVENT_ID_BYTES_MAX, "x" * EVENT_ID_BYTES_MAX),
        (b"x" * (EVENT_ID_BYTES_MAX + 1), ""),
        (b"\xff", ""),
        (b"e\0", ""),
        (b"", ""),
        (None, ""),
    ],
)
def test_an_id_that_stores_cannot_take_as_it_is_counts_as_none(
    given: bytes | None, known_as: str
) -> None:
    assert usable_id(given) == known_as


def test_an_event_with_an_endless_id_is_poison_that_says_so() -> None:
    record = make_record("x" * (EVENT_ID_BYTES_MAX + 1))
    with pytest.raises(Poison, match="id has 513 bytes; it must be 1 to 512"):
        from_headers(record.headers, record.value)


def test_every_attribute_that_is_missing_is_named() -> None:
    record = make_record()
    kept = tuple(pair for pair in record.headers if pair[0] not in ("ce_sequence", "traceparent"))
    with pytest.raises(Poison, match=r"no header ce_sequence, traceparent$"):
        from_headers(kept, record.value)
    assert to_headers(from_headers(record.headers, record.value)) == record.headers
