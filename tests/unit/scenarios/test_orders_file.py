"""Files of orders: what can be read is posted as it is, what cannot is counted, nothing crashes."""

import contextlib
import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.domain.request import parse_order
from lab.scenarios.orders_file import SAMPLE_PATH, from_file
from lab.scenarios.orders_lines import LINE_BYTES_MAX, OrdersFileError
from lab.scenarios.workload import PlannedOrder, Workload

GOOD = (
    b'{"at":"2010-12-01T08:26:00","customer_id":"17850","country":"United Kingdom",'
    b'"currency":"GBP","items":[{"sku":"MUG","quantity":6,"unit_price_cents":255}]}'
)
CSV_HEADER = b"at,customer_id,country,currency,sku,quantity,unit_price_cents"


def write(folder: Path, *lines: bytes, name: str = "orders.ndjson") -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def taken(workload: Workload) -> list[PlannedOrder]:
    orders = list(workload)
    assert workload.read == len(orders) + workload.unreadable
    return orders


def body(order: PlannedOrder) -> dict[str, object]:
    decoded = json.loads(order.body)
    assert isinstance(decoded, dict)
    return decoded


def at(time: str) -> bytes:
    return GOOD.replace(b"2010-12-01T08:26:00", time.encode())


def test_the_sample_holds_every_kind_of_dirt_and_spans_three_months() -> None:
    reasons: set[str] = set()
    accepted = 0
    orders = taken(from_file("sample", seed=1))

    for order in orders:
        parsed = parse_order(order.body)
        if isinstance(parsed, list):
            reasons |= {str(refusal.reason) for refusal in parsed}
        else:
            accepted += 1

    assert len(orders) == 500
    assert 300 < accepted < 400
    assert reasons == {"quantity_below_1", "customer_missing", "price_below_1", "sku_empty"}
    assert orders[-1].at_us > 85 * 86_400 * 1_000_000


def test_the_sample_carries_its_attribution() -> None:
    page = (SAMPLE_PATH.parent / "README.md").read_text("utf-8")

    assert all(part in page for part in ("D. Chen, 2015", "10.24432/C5BW33", "CC BY 4.0"))


def test_fields_are_posted_as_they_stand_and_others_are_left_out(tmp_path: Path) -> None:
    line = (
        b'{"at":"2010-12-01","customer_id":null,"currency":7,"items":"none","note":"x",'
        b'"country":"\\u00e9\\u0000"}'
    )

    (order,) = taken(from_file(write(tmp_path, line), seed=1))

    assert body(order) == {
        "customer_id": None,
        "country": "é\0",
        "currency": 7,
        "items": "none",
    }


def test_a_lone_surrogate_is_the_apis_business(tmp_path: Path) -> None:
    line = GOOD.replace(b"MUG", b"\\ud800")

    (order,) = taken(from_file(write(tmp_path, line), seed=1))

    refused = parse_order(order.body)
    assert isinstance(refused, list)
    assert [str(refusal.reason) for refusal in refused] == ["text_invalid"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "not JSON"),
        (GOOD[:-1], "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"null", "not a JSON object"),
        (GOOD.replace(b"MUG", b"\xff\xfe"), "not UTF-8 at byte"),
        (GOOD.replace(b":6,", b":NaN,"), "NaN is no JSON"),
        (GOOD.replace(b":6,", b":-Infinity,"), "-Infinity is no JSON"),
        (GOOD.replace(b":6,", b":1e999,"), "too large"),
        (GOOD.replace(b":6,", b":" + b"9" * 5_000 + b","), "5000 digits"),
        (at(""), "has no time"),
        (GOOD.replace(b'"at"', b'"on"'), "has no time"),
        (GOOD.replace(b'"2010-12-01T08:26:00"', b"129119196"), "no time such as"),
        (GOOD.replace(b'"2010-12-01T08:26:00"', b"true"), "no time such as"),
        (at("171205115000"), "no time such as"),
        (at("yesterday"), "no time such as"),
        (at("2010-13-01"), "no time such as"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"at":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"x":"' + b"y" * LINE_BYTES_MAX + b'"}', "longer than 1,048,576 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_unreadable_line_is_counted_with_its_number_and_the_rest_runs(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    workload = from_file(write(tmp_path, GOOD, line, b"", GOOD), seed=1)

    orders = taken(workload)

    assert len(orders) == 2
    assert workload.unreadable == 1
    (bad,) = workload.unreadable_lines
    assert bad.line == 2
    assert reason in bad.reason
    assert bad.reason.isascii()
    assert bad.reason.isprintable()


def test_lines_after_an_overlong_one_keep_their_numbers(tmp_path: Path) -> None:
    long = b"x" * (3 * LINE_BYTES_MAX)

    workload = from_file(write(tmp_path, GOOD, long, GOOD, b"?"), seed=1)

    assert len(taken(workload)) == 2
    assert [bad.line for bad in workload.unreadable_lines] == [2, 4]


@pytest.mark.slow
def test_a_line_without_an_end_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(GOOD + b"\n")
        for _ in range((1 << 28) // LINE_BYTES_MAX + 2):
            file.write(bytes(LINE_BYTES_MAX))
        file.write(b"\n" + GOOD + b"\n")

    workload = from_file(path, seed=1)

    assert len(taken(workload)) == 1
    assert workload.unreadable_lines[0].line == 2
    assert "nothing behind it was read" in workload.unreadable_lines[0].reason


def test_only_the_first_ten_unreadable_lines_are_listed(tmp_path: Path) -> None:
    workload = from_file(write(tmp_path, GOOD, *[b"?"] * 50), seed=1)

    taken(workload)

    assert workload.unreadable == 50
    assert len(workload.unreadable_lines) == 10


def test_orders_come_at_their_recorded_times_and_never_go_back(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        at("2010-12-01T08:00:00"),
        at("2010-12-01T08:00:01.5"),
        at("2009-01-01T00:00:00"),
        at("2010-12-01T09:00:02+01:00"),
    )

    assert [order.at_us for order in from_file(path, seed=1)] == [
        0,
        1_500_000,
        1_500_000,
        2_000_000,
    ]
    faster = [order.at_us for order in from_file(path, seed=1, speed=2)]
    assert faster == [0, 750_000, 750_000, 1_000_000]
    paced = [order.at_us for order in from_file(path, seed=1, rate=10)]
    assert paced == [0, 100_000, 200_000, 300_000]


def test_with_a_rate_no_time_is_needed(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace(b'"at"', b'"on"'))

    assert len(taken(from_file(path, seed=1, rate=10))) == 1


def test_no_more_orders_are_read_than_asked_for(tmp_path: Path) -> None:
    workload = from_file(write(tmp_path, GOOD, b"?", GOOD, GOOD, b"?"), seed=1, orders=2)

    assert [order.ordinal for order in taken(workload)] == [1, 2]
    assert workload.unreadable == 1


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["orders", "orders.dat", "orders.ndjson", "orders.ndjson.gz"])
def test_gzip_is_known_by_its_bytes_whatever_the_name(
    tmp_path: Path, name: str, *, packed: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(GOOD) if packed else GOOD)

    assert len(taken(from_file(path, seed=1))) == 1


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + GOOD, name="orders")

    assert len(taken(from_file(path, seed=1))) == 1


def test_a_cut_gzip_file_gives_what_is_whole_and_says_where_it_breaks_off(tmp_path: Path) -> None:
    lines = b"\n".join(GOOD.replace(b"MUG", os.urandom(20).hex().encode()) for _ in range(5_000))
    packed = gzip.compress(lines)
    path = tmp_path / "orders.ndjson.gz"
    path.write_bytes(packed[: len(packed) // 2])
    workload = from_file(path, seed=1)

    orders = taken(workload)

    assert 1_000 < len(orders) < 4_000
    assert "breaks off" in workload.unreadable_lines[-1].reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "holds no order"),
        (b"?\n", "line 1: not JSON"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"\x1f\x8b", "damaged gzip"),
        (b"\x1f\x8bnonsense, not gzip", "damaged gzip"),
        (gzip.compress(GOOD, mtime=0)[:15], "damaged gzip"),
    ],
)
def test_a_file_without_any_order_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "orders.ndjson"
    path.write_bytes(content)

    with pytest.raises(OrdersFileError, match=message) as refused:
        from_file(path, seed=1)

    assert str(path) in str(refused.value)


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "is a directory"),
        (tmp_path / "none", "there is no file"),
        (tmp_path / "a\0b", "cannot read"),
        (Path("/dev/null"), "is a device"),
        (Path("x" * 5_000), "cannot read"),
    ):
        with pytest.raises(OrdersFileError, match=message):
            from_file(path, seed=1)


def test_a_file_is_closed_at_its_end_and_by_close(tmp_path: Path) -> None:
    # An open file would be a ResourceWarning, which is an error here.
    path = write(tmp_path, GOOD, GOOD)
    list(from_file(path, seed=1))
    abandoned = from_file(path, seed=1)
    next(abandoned)
    abandoned.close()
    from_file(path, seed=1).close()


def test_csv_with_an_item_a_row_groups_consecutive_rows(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        CSV_HEADER,
        b"2010-12-01T08:00:00,1,UK,GBP,MUG,2,100",
        b'2010-12-01T08:00:00,1,UK,GBP,"LAMP, red",1,200',
        b"2010-12-01T08:00:00,2,UK,GBP,MUG,x,",
        b"2010-12-01T08:00:05,,,GBP,MUG,-3,99999999999999999999",
        name="orders.csv",
    )

    first, second, third = taken(from_file(path, seed=1))

    assert body(first) == {
        "customer_id": "1",
        "country": "UK",
        "currency": "GBP",
        "items": [
            {"sku": "MUG", "quantity": 2, "unit_price_cents": 100},
            {"sku": "LAMP, red", "quantity": 1, "unit_price_cents": 200},
        ],
    }
    assert body(second)["items"] == [{"sku": "MUG", "quantity": "x", "unit_price_cents": None}]
    assert body(third)["customer_id"] is None
    assert body(third)["items"] == [
        {"sku": "MUG", "quantity": -3, "unit_price_cents": 99_999_999_999_999_999_999}
    ]
    assert [first.at_us, second.at_us, third.at_us] == [0, 0, 5_000_000]


def test_csv_with_an_order_column_groups_by_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        b"order;at;customer_id;currency;sku;quantity;unit_price_cents",
        b"A;2010-12-01;1;GBP;MUG;2;100",
        b"B;2010-12-01;1;GBP;MUG;2;100",
        b"B;2010-12-01;1;GBP;LAMP;2;100",
        name="orders.txt",
    )

    orders = taken(from_file(path, seed=1))

    assert [len(parse(order)) for order in orders] == [1, 2]


def parse(order: PlannedOrder) -> list[object]:
    items = body(order)["items"]
    assert isinstance(items, list)
    return items


def test_csv_with_items_as_json_is_an_order_a_row(tmp_path: Path) -> None:
    items = b'"[{""sku"":""MUG"",""quantity"":1,""unit_price_cents"":5}]"'
    path = write(
        tmp_path,
        b"At,Customer_ID,Currency,Items",
        b"2010-12-01,1,GBP," + items,
        b"2010-12-01,1,GBP,[",
        b"2010-12-01,1,GBP,",
        name="orders.csv",
    )
    workload = from_file(path, seed=1)

    full, empty = taken(workload)

    assert parse(full) == [{"sku": "MUG", "quantity": 1, "unit_price_cents": 5}]
    assert body(empty)["items"] is None
    assert [bad.line for bad in workload.unreadable_lines] == [3]


def test_an_unreadable_row_of_csv_is_counted_and_the_rest_runs(tmp_path: Path) -> None:
    good = b"2010-12-01T08:00:00,1,UK,GBP,MUG,2,100"
    path = write(
        tmp_path,
        CSV_HEADER,
        good.replace(b"08:", b"07:"),
        good,
        b"2010-12-01T08:00:00,1,UK",
        b"2010-12-01T08:00:00,1,\xff,GBP,MUG,2,100",
        b"x" * (2 * LINE_BYTES_MAX),
        b"never,1,UK,GBP,MUG,2,100",
        good.replace(b"08:", b"09:"),
        name="orders.csv",
    )
    workload = from_file(path, seed=1)

    assert [order.line for order in taken(workload)] == [2, 8]
    reasons = {bad.line: bad.reason for bad in workload.unreadable_lines}
    assert reasons == {
        7: "line 6 may belong to it",
        3: "line 4 may belong to it",
        4: "has 3 fields, the header 7",
        5: reasons[5],
        6: "longer than 1,048,576 bytes",
    }
    assert "not UTF-8" in reasons[5]


def test_an_endless_quote_does_not_eat_the_memory(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        CSV_HEADER,
        b"2010-12-01T08:00:00,1,UK,GBP,MUG,2,100",
        b"2010-12-01T08:00:01,1,UK,GBP,MUG,2,100",
        b'2010-12-01T08:00:02,1,UK,GBP,"MUG,2,100',
        *[b"x" * 1_000] * 3_000,
        name="orders.csv",
    )
    workload = from_file(path, seed=1)

    assert len(taken(workload)) == 1
    assert workload.unreadable_lines[0].line == 4
    assert "lines 4-1052 are one row because of a quote" in workload.unreadable_lines[0].reason
    assert "field larger than field limit" in workload.unreadable_lines[0].reason


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (b"at,customer_id,currency,sku,qty,unit_price_cents", "quantity"),
        (b"customer_id,currency,items", "at"),
        (b"at,words", "sku, quantity, unit_price_cents"),
    ],
)
def test_a_csv_header_without_a_needed_column_is_refused(
    tmp_path: Path, header: bytes, missing: str
) -> None:
    path = write(tmp_path, header, b"1,2,3", name="orders.csv")

    with pytest.raises(OrdersFileError, match=f"lacks the columns? {missing};"):
        from_file(path, seed=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
LINES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.fixed_dictionaries(
        {"at": st.just("2010-12-01") | JSON, "items": JSON, "currency": JSON}
    ).map(lambda line: json.dumps(line).encode()),
    st.just(GOOD),
)


@given(lines=st.lists(LINES, max_size=8), ending=st.sampled_from([b"\n", b"\r\n"]))
@example(lines=[b'{"at":"0001-01-01T00:00:00+23:59"}'], ending=b"\n")
@example(lines=[b'{"at":"9999-12-31T23:59:59-23:59"}'], ending=b"\n")
def test_whatever_the_file_says_lines_are_counted_and_bodies_are_json(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ending: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "orders.ndjson"
    path.write_bytes(ending.join([GOOD, *lines]))

    try:
        orders = taken(from_file(path, seed=1))
    except OrdersFileError as refused:
        if "stand before their predecessor" in str(refused):
            return
        raise

    assert all(isinstance(body(order), dict) for order in orders)
    assert [order.at_us for order in orders] == sorted(order.at_us for order in orders)


@given(content=st.binary(max_size=300), name=st.sampled_from(["o", "o.csv", "o.json"]))
@example(content=CSV_HEADER + b"\n\xff", name="o.csv")
@example(content=b"\x00", name="o.csv")
def test_any_bytes_are_read_or_refused_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    with contextlib.suppress(OrdersFileError):
        taken(from_file(path, seed=1))


@given(rows=st.lists(st.binary(max_size=60), max_size=8))
def test_whatever_a_csv_row_says_the_rest_runs(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "orders.csv"
    good = b"2010-12-01T08:00:00,1,UK,GBP,MUG,2,100"
    path.write_bytes(b"\n".join([CSV_HEADER, good, good.replace(b"08:", b"09:"), *rows]))

    assert len(taken(from_file(path, seed=1))) >= 1
