"""Orders as CSV: one a row with its items as JSON, or one item a row. Lines are `orders_lines`'.

One item a row: consecutive rows with the same column `order`, or without it with the same `at`,
customer, country and currency, are one order.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.scenarios.orders_lines import (
    LINE_BYTES_MAX,
    Lines,
    OrdersFileError,
    RawOrder,
    Unreadable,
    decode_json,
    encode_body,
    parse_at,
    shown,
)

ITEM_COLUMNS: Final = ("sku", "quantity", "unit_price_cents")
ORDER_COLUMNS: Final = ("at", "customer_id", "country", "currency")
# The API takes 1,000 items; more than these could not change its answer.
ITEMS_READ_MAX: Final = 5_000
_DELIMITERS: Final = ",;\t"


def read_csv(path: Path, lines: Lines, *, needs_at: bool) -> Iterator[RawOrder | Unreadable]:
    """Every order or unreadable row of a CSV file.

    Raises:
        OrdersFileError: the header is missing, or lacks columns.
    """
    rows = _Rows(lines)
    header = _header(path, lines, rows)
    wanted = ["at"] if needs_at else []
    wanted += [] if "items" in header else [*ITEM_COLUMNS]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise OrdersFileError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; its "
            f"header is {shown(','.join(header))}; needed: {', '.join(ORDER_COLUMNS)}, and items "
            f"as JSON or {', '.join(ITEM_COLUMNS)}"
        )
    if "items" in header:
        return _order_a_row(rows, header, needs_at=needs_at)
    return _item_a_row(rows, header, needs_at=needs_at)


class _Rows:
    """The rows of the file as lists of fields, and the line on which the last one began."""

    def __init__(self, lines: Lines) -> None:
        csv.field_size_limit(LINE_BYTES_MAX)
        self._lines = lines
        self._reader = csv.reader(self._texts())
        self._broken: Unreadable | None = None
        self._began = 0
        self.line = 0

    def use_delimiter(self, delimiter: str) -> None:
        """Split rows here from now on."""
        self._reader = csv.reader(self._texts(), delimiter=delimiter)

    def _texts(self) -> Iterator[str]:
        while True:
            try:
                line = next(self._lines, None)
            except Unreadable as bad:
                # The reader of rows must go on, so it gets an empty row; `__next__` raises instead.
                self._broken = bad
                line = b""
            if line is None:
                return
            self._began = self._began or self._lines.number
            yield line.decode("utf-8", "surrogateescape") + "\n"

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> list[str]:
        """The next row; [] for an empty line.

        Raises:
            Unreadable: it is not UTF-8, or no row at all.
        """
        self._began = 0
        try:
            row = next(self._reader)
        except csv.Error as bad:
            raise Unreadable(f"no row of CSV: {bad}") from None
        finally:
            self.line = self._began or self._lines.number
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken
        for field in row:
            if not field.isascii() and re.search(r"[\udc80-\udcff]", field):
                raise Unreadable(f"not UTF-8: {shown(field)}")
        return row


def _header(path: Path, lines: Lines, rows: _Rows) -> list[str]:
    """The names of the columns, lower case; the delimiter is the commonest of the first line."""
    try:
        first = next(lines, b"").decode()
    except (Unreadable, UnicodeDecodeError) as bad:
        raise OrdersFileError(f"{path}: its first line cannot be read: {bad}") from None
    delimiter = max(_DELIMITERS, key=first.count)
    rows.use_delimiter(delimiter)
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]


def _cells(row: Sequence[str], header: Sequence[str]) -> Mapping[str, str]:
    if len(row) != len(header):
        raise Unreadable(f"has {len(row)} fields, the header {len(header)}")
    return dict(zip(header, row, strict=True))


def _order_a_row(
    rows: _Rows, header: Sequence[str], *, needs_at: bool
) -> Iterator[RawOrder | Unreadable]:
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
            if not row:
                continue
            cells = _cells(row, header)
            at_us = parse_at(cells.get("at"), is_needed=needs_at)
            items = decode_json(cells["items"].encode()) if cells["items"].strip() else None
            yield RawOrder(rows.line, at_us, encode_body({**_order_fields(cells), "items": items}))
        except Unreadable as bad:
            bad.line = rows.line
            yield bad


class _Group:
    """Consecutive rows of one order."""

    def __init__(self, line: int, same: tuple[str, ...], cells: Mapping[str, str]) -> None:
        self.line = line
        self.same = same
        self.fields = _order_fields(cells)
        self.at_us: int | None = None
        self.items: list[object] = []

    def order(self) -> RawOrder:
        body = encode_body({**self.fields, "items": self.items})
        return RawOrder(self.line, self.at_us, body)


def _item_a_row(
    rows: _Rows, header: Sequence[str], *, needs_at: bool
) -> Iterator[RawOrder | Unreadable]:
    same_columns = ("order",) if "order" in header else ORDER_COLUMNS
    group: _Group | None = None
    while True:
        try:
            row = next(rows, None)
            if row is None:
                break
            if not row:
                continue
            cells = _cells(row, header)
            same = tuple(cells.get(name, "") for name in same_columns)
            if group is None or group.same != same:
                at_us = parse_at(cells.get("at"), is_needed=needs_at)
                if group is not None:
                    yield group.order()
                group = _Group(rows.line, same, cells)
                group.at_us = at_us
            if len(group.items) < ITEMS_READ_MAX:
                group.items.append(_item(cells))
        except Unreadable as bad:
            bad.line = rows.line
            yield bad
    if group is not None:
        yield group.order()


def _order_fields(cells: Mapping[str, str]) -> dict[str, object]:
    """The fields of the order itself; an empty cell is a missing value."""
    return {name: cells.get(name) or None for name in ORDER_COLUMNS if name != "at"}


def _item(cells: Mapping[str, str]) -> dict[str, object]:
    return {
        "sku": cells["sku"],
        "quantity": _number(cells["quantity"]),
        "unit_price_cents": _number(cells["unit_price_cents"]),
    }


def _number(text: str) -> object:
    """A whole number if it is one; anything else stays the text it is, for the API to refuse."""
    cut = text.strip()
    return int(cut) if re.fullmatch(r"-?[0-9]{1,25}", cut) else (text or None)
