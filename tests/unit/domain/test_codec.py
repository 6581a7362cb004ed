"""Payloads as bytes, the partition of a key, and how an event descends from its cause."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.domain.codec import decode, encode, murmur2, partition_of
from lab.domain.envelope import Envelope, from_headers, to_headers
from lab.domain.errors import Poison
from lab.domain.events import PAYLOADS, OrderConfirmed, OrderCreated
from lab.domain.lineage import derive
from lab.domain.order import Item
from lab.domain.trace_context import made_up

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
CONFIRMED = OrderConfirmed(order_id="o1", currency="EUR", amount_cents=900)


def make_event() -> Envelope:
    return derive(
        CONFIRMED,
        by="orders",
        cause_id="c1",
        traceparent=TRACE,
        sequence=4,
        time_us=1_700_000_000_000_000,
        lab_subject="1.1",
    )


EVENT = make_event()


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_hashes_that_kafka_publishes(key: bytes, signed: int) -> None:
    # Vectors of org.apache.kafka.common.utils.UtilsTest.
    assert murmur2(key) == signed % 2**32


def test_a_partition_is_the_positive_hash_modulo_their_number() -> None:
    assert partition_of(b"21", 8) == (-973932308 & 0x7FFFFFFF) % 8
    assert partition_of(b"", 3) in range(3)


@given(st.binary(max_size=80), st.integers(1, 500))
def test_every_key_has_one_partition(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) in range(partitions)
    assert partition_of(key, partitions) == partition_of(bytes(key), partitions)


def test_keys_spread_over_all_partitions() -> None:
    counts = [0] * 8
    for number in range(8_000):
        counts[partition_of(f"{number:032x}".encode(), 8)] += 1
    assert min(counts) > 800


def test_a_payload_survives_the_journey() -> None:
    created = OrderCreated(
        order_id="o1",
        customer_id="Zoë",
        country=None,
        currency="EUR",
        amount_cents=900,
        items=(Item(sku="mug", quantity=2, unit_price_cents=450),),
    )
    assert decode("OrderCreated", encode(created)) == created
    assert decode("OrderConfirmed", encode(CONFIRMED)) == CONFIRMED


def test_a_field_that_nobody_knows_yet_is_ignored() -> None:
    assert decode("OrderConfirmed", encode(CONFIRMED)[:-1] + b',"new":[1]}') == CONFIRMED


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("OrderEaten", b"{}"),
        ("", b"{}"),
        ("OrderConfirmed", b""),
        ("OrderConfirmed", b"\x00poison"),
        ("OrderConfirmed", b"\xff"),
        ("OrderConfirmed", b"{}"),
        ("OrderConfirmed", b'{"order_id":1,"currency":"EUR","amount_cents":1}'),
        ("OrderConfirmed", b'{"order_id":"\\ud800","currency":"EUR","amount_cents":1}'),
        ("OrderConfirmed", b'{"a":' * 50_000),
    ],
)
def test_what_is_no_payload_is_poison(event_type: str, data: bytes) -> None:
    with pytest.raises(Poison):
        decode(event_type, data)


@given(st.sampled_from(sorted(PAYLOADS)), st.binary(max_size=100))
def test_any_bytes_are_a_payload_or_poison(event_type: str, data: bytes) -> None:
    with suppress(Poison):
        assert type(decode(event_type, data)).__name__ == event_type


def test_the_same_cause_gives_the_same_event_again() -> None:
    def again() -> bytes:
        event = make_event()
        assert from_headers(to_headers(event), event.data) == event
        assert (event.type, event.subject, event.causation_id) == ("OrderConfirmed", "o1", "c1")
        return repr(event).encode()

    assert again() == again()


def test_a_client_s_state_travels_in_a_header_of_its_own() -> None:
    event = msgspec.structs.replace(EVENT, traceparent=f"{TRACE} vendor=1")
    headers = dict(to_headers(event))
    assert (headers["traceparent"], headers["tracestate"]) == (TRACE.encode(), b"vendor=1")
    assert from_headers(to_headers(event), event.data) == event
    assert "tracestate" not in dict(to_headers(EVENT))


@pytest.mark.parametrize(
    "parent", [b"", b"\xff", b"00-zz", f"00-{'Z' * 32}-{'b' * 16}-01".encode(), b"a b"]
)
def test_a_foreign_event_whose_trace_is_none_is_in_the_one_that_its_order_would_have(
    parent: bytes,
) -> None:
    headers = (*to_headers(EVENT), ("traceparent", parent))
    assert from_headers(headers, EVENT.data).traceparent == made_up(EVENT.subject)


@pytest.mark.parametrize("state", [b"", b"\xff\xfe", b"a=\0b", b"x" * 600])
def test_a_foreign_state_that_is_none_costs_no_event(state: bytes) -> None:
    headers = (*to_headers(EVENT), ("tracestate", state))
    assert from_headers(headers, EVENT.data) == EVENT
