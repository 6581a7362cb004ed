"""Files of orders as people have them: read as they are meant, or refused with the remedy.

An order that nobody placed is the one thing that must not come out of any of them.
"""

import bz2
import gzip
import io
import json
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from lab.domain.currency import in_major_units
from lab.domain.request import parse_order
from lab.scenarios import orders_source
from lab.scenarios.orders_file import from_file
from lab.scenarios.orders_lines import OrdersFileError
from lab.scenarios.workload import Workload

HEADER = "order,at,customer_id,country,currency,sku,quantity,unit_price_cents"
LINE = {
    "at": "2026-04-05T10:00:00Z",
    "customer_id": "c1",
    "country": "DE",
    "currency": "EUR",
    "items": [{"sku": "A", "quantity": 1, "unit_price_cents": 1000}],
}


def row(order: object = 1, **given: object) -> str:
    cells = {
        "order": order,
        "at": "2026-04-05T10:00:00Z",
        "customer_id": "c1",
        "country": "DE",
        "currency": "EUR",
        "sku": "A",
        "quantity": 1,
        "unit_price_cents": 1000,
    }
    return ",".join(str(cell) for cell in {**cells, **given}.values())


def write(folder: Path, *lines: str, name: str = "orders.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("".join(line + "\n" for line in lines).encode(encoding, "surrogateescape"))
    return path


def accepted(workload: Workload) -> Counter[str]:
    """The amounts that the API would accept, in minor units by currency; the workload is taken."""
    amounts: Counter[str] = Counter()
    for order in workload:
        parsed = parse_order(order.body)
        if not isinstance(parsed, list):
            amounts[parsed.currency] += parsed.amount_cents
    return amounts


def reasons(workload: Workload) -> dict[int, str]:
    return {bad.line: bad.reason for bad in workload.unreadable_lines}


@pytest.mark.parametrize(
    ("lines", "amounts", "orders"),
    [
        ([HEADER.replace("order", "order_id", 1), row(1), row(1), row(2)], {"EUR": 3000}, 2),
        ([HEADER.replace("order", "Order Number", 1), row(1), row(2)], {"EUR": 2000}, 2),
        ([HEADER, row(""), row("", customer_id="c2"), row("", currency="USD")], None, 3),
        ([HEADER.replace(",", "|"), row().replace(",", "|")], {"EUR": 1000}, 1),
        (["sep=;", HEADER.replace(",", ";"), row().replace(",", ";")], {"EUR": 1000}, 1),
        (["", " ", HEADER, row()], {"EUR": 1000}, 1),
        ([HEADER, row() + ",", row(2)], {"EUR": 2000}, 2),
        ([HEADER, row(at="2026-04-05 10:00:00 UTC"), row(2)], {"EUR": 2000}, 2),
        ([HEADER, row(at="2026-04-05 12:00:00 +0200"), row(2)], {"EUR": 2000}, 2),
        ([HEADER, row(at="1712051150000"), row(2, at="1712051150")], {"EUR": 2000}, 2),
        ([HEADER, row(), row(customer_id="", currency="", at="", sku="B")], {"EUR": 2000}, 1),
        ([HEADER, row(customer_id="NULL"), row(2, customer_id="\\N")], {}, 2),
        ([HEADER, row(quantity="1.000"), row(2, unit_price_cents="$10.00")], {}, 2),
        ([HEADER.replace("_cents", ""), row(unit_price_cents="14.9")], {"EUR": 1490}, 1),
        ([HEADER.replace("_cents", ""), row(unit_price_cents='"14,90"')], {"EUR": 1490}, 1),
        (
            [HEADER.replace("_cents", ""), row(currency="JPY", unit_price_cents="1600")],
            {"JPY": 1600},
            1,
        ),
        (
            [HEADER.replace("_cents", ""), row(currency="KWD", unit_price_cents="1.6")],
            {"KWD": 1600},
            1,
        ),
        (
            ["\t".join(HEADER.split(",")), "\t".join(row(sku='"Best mug').split(","))],
            {"EUR": 1000},
            1,
        ),
    ],
)
def test_it_is_read_as_it_is_meant(
    tmp_path: Path, lines: list[str], amounts: dict[str, int] | None, orders: int
) -> None:
    workload = from_file(write(tmp_path, *lines), seed=1)

    found = accepted(workload)

    assert workload.given is not None
    assert (workload.given.orders, workload.given.unreadable) == (orders, 0)
    assert amounts is None or found == amounts


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, row(unit_price_cents="2.55"), row(2, unit_price_cents=165)], "holds 2.55 in lin"),
        ([HEADER, row(2, unit_price_cents=165), row(unit_price_cents="15.00")], "in line 3"),
        ([HEADER + ",currency", row() + ",JPY"], "column currency stands twice"),
        ([HEADER + ",order_id", row() + ",7"], "column order stands twice"),
        ([HEADER + ",unit_price", row() + ",7"], "keep the one that is right"),
        ([row()], "no header"),
        (["Orders of April,,,,,,,", ",,,,,,,", HEADER, row()], "line 3 looks like the header"),
        ([HEADER.replace("quantity", "quantities"), row()], "quantities for quantity"),
        ([HEADER + "\r" + row() + "\r"], "carriage return"),
        ([HEADER.replace("order", "order\r"), row()], "carriage return"),
        (
            [HEADER, row(at="2026-04-07"), row(2, at="2026-04-06"), row(3, at="2026-04-05")],
            "2 of 3 orders stand before their predecessor",
        ),
        ([HEADER, row(1), row(2), row(1), row(2)], "order '1' of line 2 comes back in line 4"),
        ([json.dumps(LINE)], "JSON lines in a file named .csv"),
        (["[", json.dumps(LINE) + ",", json.dumps(LINE), "]"], r"jq -c '\.\[\]'"),
        ([json.dumps({"topic": "o", "payload": json.dumps(LINE)})], "payload | fromjson"),
        ([json.dumps({"specversion": "1.0", "data": LINE})], r"jq -c '\.data'"),
        (["{", '"at": "2026-04-05"', "}"], "jq -c . "),
    ],
)
def test_a_file_that_would_be_misread_is_refused_with_the_remedy(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = write(tmp_path, *lines)

    with pytest.raises(OrdersFileError, match=message) as refused:
        accepted(from_file(path, seed=1))

    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (bz2.compress(b"x"), "a bzip2 file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\xfd7zXZ\x00", "an xz file"),
        (b"PAR1", "a Parquet file"),
        ("order,at\n".encode("utf-16"), "UTF-16"),
        ("order,at\n".encode("utf-16-be"), "UTF-16"),
        (gzip.compress(b"PAR1", mtime=0), "a Parquet file"),
        ("order,w\xe4hrung\n".encode("cp1252"), "Windows-1252: `iconv"),
    ],
)
def test_another_format_is_known_by_its_first_bytes(
    tmp_path: Path, start: bytes, message: str
) -> None:
    path = tmp_path / "orders"
    path.write_bytes(start)

    with pytest.raises(OrdersFileError, match=message):
        from_file(path, seed=1)


@pytest.mark.parametrize(
    ("member", "message"),
    [("[Content_Types].xml", "an Excel workbook"), ("orders.csv", "unzip -p")],
)
def test_a_workbook_is_told_from_a_zip_archive(tmp_path: Path, member: str, message: str) -> None:
    path = tmp_path / "orders"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "x")

    with pytest.raises(OrdersFileError, match=message):
        from_file(path, seed=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(2, customer_id="c9"), "two values of customer_id: 'c1' in line 3, 'c9' here"),
        (row(2, currency="USD"), "two values of currency"),
        (row(2, at="2026-04-06"), "two values of at"),
        (row(2, sku="K\udcf6che"), "not UTF-8"),
        ("2,2026-04-05T10:00:00Z,c1", "has 3 fields, the header 8"),
    ],
)
def test_an_order_with_a_bad_row_is_left_out_whole(tmp_path: Path, bad: str, reason: str) -> None:
    lines = [HEADER, row(1), row(2), bad, row(2), row(3)]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert accepted(workload) == {"EUR": 2000}

    assert workload.given is not None
    assert (workload.given.rows, workload.given.unreadable) == (5, 3)
    assert list(reasons(workload)) == [4]
    assert reason in reasons(workload)[4]


def test_a_row_that_may_belong_to_two_orders_spoils_both(tmp_path: Path) -> None:
    lines = [HEADER, row(1), row(2), "???", row(3), row(4)]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert [order.line for order in workload] == [2, 6]

    assert reasons(workload) == {
        4: "has 1 fields, the header 8",
        3: "line 4 may belong to it",
        5: "line 4 may belong to it",
    }


@pytest.mark.parametrize(
    "eaten",
    [
        [row(3, sku='"Best mug'), row(4), row(5)],
        [row(3, sku='"Best mug'), row(4), row(5, sku='12" mug"')],
        [row(3, sku='"Best mug'), row(4), row(5, sku='mug 12"')],
    ],
    ids=["to-the-end", "a-second-quote", "with-the-right-number-of-fields"],
)
def test_a_stray_quote_names_the_lines_that_it_eats(tmp_path: Path, eaten: list[str]) -> None:
    lines = [HEADER, row(1), row(2), *eaten]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert accepted(workload) == {"EUR": 1000}

    assert workload.given is not None
    assert workload.given.rows - workload.given.unreadable == 1
    assert "lines 4-6 are one row because of a quote" in reasons(workload)[4]


def test_an_order_that_comes_back_is_left_out_and_the_others_run(tmp_path: Path) -> None:
    lines = [HEADER, row(1), row(2), row(3, sku=""), row(1), "3,x"]
    workload = from_file(write(tmp_path, *lines), seed=1, orders=9)

    assert [order.line for order in workload] == [3, 4]

    assert reasons(workload)[2] == (
        "order '1' of line 2 comes back in line 5; sort the file by order"
    )


def test_a_row_without_customer_goes_on_with_the_order_before_it(tmp_path: Path) -> None:
    header = HEADER.removeprefix("order,")
    bare = row(customer_id="", country="", currency="")
    lines = [header, *(one.partition(",")[2] for one in (row(at="2026-04-04"), row(), bare))]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert [order.line for order in workload] == [2]

    assert "the file needs a column `order`" in reasons(workload)[3]


def test_a_price_with_more_decimals_than_the_currency_has_is_no_price(tmp_path: Path) -> None:
    header = HEADER.replace("_cents", "")
    lines = [header, row(1), row(2, currency="JPY", unit_price_cents="1.6")]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert accepted(workload) == {"EUR": 100_000}

    assert reasons(workload) == {3: "unit_price '1.6' has more decimals than JPY (0)"}


def test_with_a_rate_times_need_not_be_times_nor_in_order(tmp_path: Path) -> None:
    lines = [HEADER, row(1, at="12/1/10 8:28"), row(2, at="12/1/10 8:26")]
    workload = from_file(write(tmp_path, *lines), seed=1, rate=10)

    assert [order.at_us for order in workload] == [0, 100_000]


def test_some_orders_before_their_predecessor_are_counted(tmp_path: Path) -> None:
    times = ("2026-04-05", "9999-12-31", "2026-04-06", "2026-04-07")
    lines = [HEADER, *(row(n, at=at) for n, at in enumerate(times))]
    workload = from_file(write(tmp_path, *lines), seed=1)

    assert len(list(workload)) == 4

    assert workload.given is not None
    assert workload.given.before_predecessor == 1
    assert workload.given.first_at.startswith("2026-04-05")
    assert workload.given.last_at.startswith("9999-12-31")


def test_standard_input_is_read_once_and_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders_source, "_kept", {})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{HEADER}\n{row()}\n".encode())))
    monkeypatch.chdir(tmp_path)

    assert accepted(from_file("-", seed=1)) == {"EUR": 1000}
    assert accepted(from_file("-", seed=2)) == {"EUR": 1000}


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (195_305, "GBP", "1,953.05 GBP"),
        (1_600, "JPY", "1,600 JPY"),
        (1_600, "KWD", "1.600 KWD"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_amounts_are_written_with_the_decimals_of_their_currency(
    amount: int, currency: str, text: str
) -> None:
    assert in_major_units(amount, currency) == text


def test_unix_times_are_read_as_numbers_too(tmp_path: Path) -> None:
    lines = [json.dumps({**LINE, "at": at}) for at in (1_712_051_150, 1_712_051_210_000)]
    workload = from_file(write(tmp_path, *lines, name="orders.ndjson"), seed=1)

    assert [order.at_us for order in workload] == [0, 60_000_000]


def test_a_file_that_was_changed_is_looked_over_again(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, row(1), row(2))
    assert accepted(from_file(path, seed=1)) == {"EUR": 2000}

    write(tmp_path, HEADER, row(1), row(2), row(1))

    assert accepted(from_file(path, seed=1)) == {"EUR": 1000}
