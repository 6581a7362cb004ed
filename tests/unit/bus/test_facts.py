"""The digest of a record: what counts in it, and that it is known by the record alone."""

from hashlib import blake2b

import pytest

from lab.bus.facts import event_digest, record_digest
from lab.domain.envelope import Headers
from lab.ports.bus import Record

EVENT: Headers = (("ce_id", b"1"), ("lab-subject", b"7.1"), ("traceparent", b"00"), ("ce_x%", b"y"))


def digest(text: bytes) -> str:
    return blake2b(text, digest_size=8).hexdigest()


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ((), b"1:2:kvv"),
        (EVENT, b"1:2:kvv\x00ce_id\x001ce_x%y"),
        (EVENT[::-1], b"1:2:kvvce_x%y\x00ce_id\x001"),
        ((("ce_id", b"%d"), ("ce_id", b"2")), b"1:2:kvv\x00ce_id\x00%d\x00ce_id\x002"),
    ],
)
def test_it_covers_key_value_and_the_own_headers_of_the_event(
    headers: Headers, text: bytes
) -> None:
    assert event_digest(b"k", b"vv", headers) == digest(text)


def test_a_record_that_takes_the_place_of_another_has_its_own() -> None:
    for n in range(3_000):
        value = b"%d" % n
        record = Record("orders", 0, n, b"k", value, EVENT, 0)
        expected = event_digest(b"k", value, EVENT)
        assert (record_digest(record), record_digest(record)) == (expected, expected)
