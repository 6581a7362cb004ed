"""Orders as CSV: one a row with its items as JSON, or one item a row. Rows are `orders_rows`'.

One item a row: consecutive rows with the same column `order`, or without it with the same `at`,
customer, country and currency, are one order. An order is posted whole or not at all: without a row
that cannot be read, or with two customers, or in two parts, it would be one that nobody placed.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from lab.domain.currency import minor_digits
from lab.domain.request import CURRENCIES
from lab.scenarios.orders_lines import (
    Lines,
    OrdersFileError,
    RawOrder,
    Unreadable,
    decode_json,
    encode_body,
    parse_at,
    shown,
)
from lab.scenarios.orders_rows import (
    ITEM_COLUMNS,
    ORDER,
    ORDER_COLUMNS,
    PRICE,
    BadCsvRow,
    CsvRow,
    CsvRows,
    is_utf_8,
)

# The API takes 1,000 items; more than these could not change its answer.
ITEMS_READ_MAX: Final = 5_000
_NO_VALUE: Final = frozenset({"", "NULL", "null", "\\N", "NaN", "nan", "None"})
"""How programs write a missing value into a cell."""

_MAJOR_UNITS: Final = re.compile(r"\s*-?\d+[.,](\d\d|[1-9])\s*", re.ASCII)
_DECIMAL: Final = re.compile(r"-?\d{1,18}([.]\d{1,6}|,\d{1,2})?", re.ASCII)


def read_csv(path: Path, lines: Lines, *, needs_at: bool) -> Iterator[RawOrder | Unreadable]:
    """Every order or unreadable row of a CSV file.

    Raises:
        OrdersFileError: the header is missing or lacks columns; at once. Prices of
            `unit_price_cents` have decimals; when the first one is met.
    """
    rows = CsvRows(path, lines)
    wanted = ["at"] if needs_at else []
    if "items" not in rows.header:
        wanted += [
            name for name in ITEM_COLUMNS if name != "unit_price_cents" or PRICE not in rows.header
        ]
    if missing := rows.missing(wanted):
        raise missing
    if "items" in rows.header:
        return _order_a_row(rows, needs_at=needs_at)
    return _Grouping(path, needs_at=needs_at, has_number=ORDER in rows.header).orders(rows)


def _order_a_row(rows: CsvRows, *, needs_at: bool) -> Iterator[RawOrder | Unreadable]:
    for row in rows:
        if isinstance(row, BadCsvRow):
            yield row
            continue
        cells = row.cells
        try:
            at_us = parse_at(cells.get("at"), is_needed=needs_at)
            items = decode_json(cells["items"].encode()) if cells["items"].strip() else None
            yield RawOrder(row.line, at_us, encode_body({**_order_fields(cells), "items": items}))
        except Unreadable as bad:
            bad.line = row.line
            yield bad


class _Group:
    """Consecutive rows of one order, and the reason for which it is left out."""

    def __init__(self, same: tuple[str, ...], line: int) -> None:
        self.same = same
        self.line = line
        self.rows = 0
        self.cells: dict[str, tuple[str, int]] = {}
        self.items: list[dict[str, object]] = []
        self.bad: Unreadable | None = None

    @property
    def number(self) -> str:
        return self.same[0]

    def add(self, row: CsvRow) -> None:
        """Take a row in; the first one that fits not spoils the order."""
        self.rows += 1
        if self.bad is not None:
            return
        try:
            self._agree(row)
            if len(self.items) < ITEMS_READ_MAX:
                self.items.append(_item(row.cells))
        except Unreadable as bad:
            bad.line = row.line
            self.bad = bad

    def spoil(self, bad: Unreadable) -> None:
        """It is not to be posted, for this reason."""
        self.bad = self.bad or bad

    def _agree(self, row: CsvRow) -> None:
        """What is said of the order once is true of all its rows; a cell left empty says nothing.

        Raises:
            Unreadable: two rows of one order contradict each other.
        """
        for name in ORDER_COLUMNS:
            cell = row.cells.get(name, "").strip()
            if cell in _NO_VALUE:
                continue
            first, line = self.cells.setdefault(name, (row.cells[name], row.line))
            if first.strip() != cell:
                raise Unreadable(
                    f"order {shown(self.number)} has two values of {name}: {shown(first)} in line "
                    f"{line}, {shown(cell)} here"
                )

    def order(self, *, needs_at: bool) -> RawOrder | Unreadable:
        try:
            if self.bad is not None:
                raise self.bad
            cells = {name: cell for name, (cell, _) in self.cells.items()}
            at_us = parse_at(cells.get("at"), is_needed=needs_at)
            fields = _order_fields(cells)
            items = [_priced(item, fields["currency"]) for item in self.items]
            body = encode_body({**fields, "items": items})
        except Unreadable as bad:
            bad.line = bad.line or self.line
            bad.rows = max(self.rows, 1)
            bad.number = self.number
            return bad
        return RawOrder(self.line, at_us, body, self.rows, self.number)


class _Grouping:
    """Rows become orders. A row whose order is not known spoils the orders before and behind it."""

    def __init__(self, path: Path, *, needs_at: bool, has_number: bool) -> None:
        self._path = path
        self._needs_at = needs_at
        self._has_number = has_number
        self._group: _Group | None = None
        self._doubt: BadCsvRow | None = None

    def orders(self, rows: CsvRows) -> Iterator[RawOrder | Unreadable]:
        for row in rows:
            if isinstance(row, BadCsvRow):
                yield from self._bad_row(row)
                continue
            _refuse_major_units(self._path, row)
            same = self._same(row.cells)
            if self._group is None or self._group.same != same:
                yield from self._next(_Group(same, row.line))
            assert self._group is not None
            self._doubt = None
            if not self._has_number and not any(same[2:]) and self._group.rows:
                self._group.spoil(_no_number(row.line))
            self._group.add(row)
        yield from self._close()

    def _next(self, group: _Group) -> Iterator[RawOrder | Unreadable]:
        """Another order begins."""
        before = self._group
        if before is not None and not self._has_number and not any(group.same[2:]):
            # A row without customer, country and currency goes on with the order before it.
            before.spoil(_no_number(group.line))
            group.spoil(_no_number(group.line))
        yield from self._close()
        self._group = group
        if self._doubt is not None:
            group.spoil(Unreadable(f"line {self._doubt.line} may belong to it"))
            self._doubt = None

    def _close(self) -> Iterator[RawOrder | Unreadable]:
        if self._group is not None:
            yield self._group.order(needs_at=self._needs_at)
            self._group = None

    def _bad_row(self, row: BadCsvRow) -> Iterator[RawOrder | Unreadable]:
        same = self._same(row.cells)
        is_in_group = self._group is not None and self._group.same == same
        if not is_in_group and (row.is_shifted or not row.cells or not all(map(is_utf_8, same))):
            if self._group is not None:
                self._group.spoil(Unreadable(f"line {row.line} may belong to it"))
            self._doubt = row
            yield row
            return
        if self._group is None or self._group.same != same:
            yield from self._next(_Group(same, row.line))
        assert self._group is not None
        self._group.rows += row.rows
        self._group.spoil(row)

    def _same(self, cells: Mapping[str, str]) -> tuple[str, ...]:
        """What rows of one order have in common, the order number first."""
        number = cells.get(ORDER, "").strip()
        if number:
            return (number,)
        return ("", *(cells.get(name, "") for name in ORDER_COLUMNS))


def _no_number(line: int) -> Unreadable:
    return Unreadable(
        f"line {line} names no customer, country or currency; if it goes on with the order before "
        "it, the file needs a column `order`"
    )


def _refuse_major_units(path: Path, row: CsvRow) -> None:
    """Prices such as 2.55 beside 165: whoever takes the 165 for cents charges a hundredth.

    Raises:
        OrdersFileError: a price of `unit_price_cents` has decimals.
    """
    cell = row.cells.get("unit_price_cents", "")
    if _MAJOR_UNITS.fullmatch(cell):
        raise OrdersFileError(
            f"{path}: unit_price_cents holds {cell.strip()} in line {row.line}; if the prices have "
            "decimals, name that column unit_price"
        )


def _order_fields(cells: Mapping[str, str]) -> dict[str, object]:
    """The fields of the order itself; an empty cell is a missing value."""
    return {
        name: None if (cell := cells.get(name, "")).strip() in _NO_VALUE else cell
        for name in ORDER_COLUMNS
        if name != "at"
    }


def _item(cells: Mapping[str, str]) -> dict[str, object]:
    price = {"unit_price": cells[PRICE]} if PRICE in cells else {}
    return {
        "sku": cells["sku"],
        "quantity": _number(cells["quantity"]),
        "unit_price_cents": _number(cells.get("unit_price_cents", "")),
        **price,
    }


def _priced(item: dict[str, object], currency: object) -> dict[str, object]:
    """The item with its price in minor units, if the file has it in decimals.

    Raises:
        Unreadable: the price has more decimals than the currency.
    """
    if PRICE not in item:
        return item
    cell = str(item.pop(PRICE)).strip()
    if currency not in CURRENCIES or not _DECIMAL.fullmatch(cell):
        return {**item, "unit_price_cents": cell or None}
    digits = minor_digits(str(currency))
    price = Decimal(cell.replace(",", ".")).scaleb(digits)
    if price != int(price):
        raise Unreadable(f"unit_price {shown(cell)} has more decimals than {currency} ({digits})")
    return {**item, "unit_price_cents": int(price)}


def _number(text: str) -> object:
    """A whole number if it is one; anything else stays the text it is, for the API to refuse."""
    cut = text.strip()
    return int(cut) if re.fullmatch(r"-?[0-9]{1,25}", cut) else (text or None)
