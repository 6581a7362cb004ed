"""Rows of a CSV file: its header, and rows as fields.

A stray quote makes one row of many lines: they are named, and never taken for an order.
Not here: what rows mean (`orders_csv`).
"""

import csv
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.scenarios.orders_lines import (
    LINE_BYTES_MAX,
    Lines,
    OrdersFileError,
    Unreadable,
    shown,
)
from lab.scenarios.orders_recognise import other_encoding

ITEM_COLUMNS: Final = ("sku", "quantity", "unit_price_cents")
ORDER_COLUMNS: Final = ("at", "customer_id", "country", "currency")
ORDER: Final = "order"
PRICE: Final = "unit_price"
_KNOWN: Final = frozenset({ORDER, PRICE, "items", *ITEM_COLUMNS, *ORDER_COLUMNS})
_ORDER_NUMBERS: Final = frozenset({"order", "orderid", "ordernumber", "orderno", "ordernr"})
_ONE_LINE: Final = _KNOWN - {"items"}
_DELIMITERS: Final = ",;\t|"
_HEADER_SHOWN: Final = 2_000
_SOUGHT_LINES: Final = 10
_ALIKE: Final = 0.5


class CsvRow:
    """One row.

    Attributes:
        line: where it begins.
        cells: its fields by column.
    """

    __slots__ = ("cells", "line")

    def __init__(self, line: int, cells: Mapping[str, str]) -> None:
        self.line = line
        self.cells = cells


class BadCsvRow(Unreadable):
    """A row that cannot be read.

    Attributes:
        cells: what could be made of it, {} if nothing: its order may be known all the same.
        is_shifted: it has more or fewer fields than the header, so that a cell may stand in another
            column than its own.
    """

    def __init__(
        self, reason: str, *, line: int, rows: int, cells: Mapping[str, str], is_shifted: bool
    ) -> None:
        super().__init__(reason, line=line, rows=rows)
        self.cells = cells
        self.is_shifted = is_shifted


class CsvRows:
    """The rows of a file behind its header.

    Attributes:
        header: the names of the columns, lower case; the order number is `order` whatever variant
            of that name it has.

    Raises:
        OrdersFileError: the first lines are no header.
    """

    def __init__(self, path: Path, lines: Lines) -> None:
        csv.field_size_limit(LINE_BYTES_MAX)
        self._path = path
        self._lines = lines
        self._broken: Unreadable | None = None
        self._began = 0
        self.header, self._delimiter = _header(path, lines)
        self._rows = self._new_reader()

    def missing(self, wanted: Sequence[str]) -> OrdersFileError | None:
        """The error that names the columns which are not there, with the nearest names."""
        lacks = [name for name in wanted if name not in self.header]
        if not lacks:
            return None
        near = [
            f"{found[0]} for {name}?"
            for name in lacks
            if (found := difflib.get_close_matches(name, self.header, n=1, cutoff=_ALIKE))
            and found[0] not in _KNOWN
        ]
        return OrdersFileError(
            f"{self._path} lacks the column{'s' if len(lacks) > 1 else ''} {', '.join(lacks)}; "
            f"its header is {shown(self._delimiter.join(self.header), longest=_HEADER_SHOWN)}"
            f"{f' ({chr(32).join(near)})' if near else ''}; needed: {', '.join(ORDER_COLUMNS)}, "
            f"and items as JSON or {', '.join(ITEM_COLUMNS)} (or {PRICE} with decimals)"
        )

    def __iter__(self) -> Iterator["CsvRow | BadCsvRow"]:
        """Every row, empty lines left out."""
        while True:
            self._began = 0
            try:
                fields = next(self._rows, None)
            except csv.Error as bad:
                # The reader forgets the fields of the broken row and goes on behind it.
                yield self._bad(f"no row of CSV: {bad}", {})
                continue
            if self._broken is not None:
                broken, self._broken = self._broken, None
                yield self._bad(str(broken), {})
            elif fields is None:
                return
            elif fields:
                yield self._row(fields)

    def _row(self, fields: Sequence[str]) -> "CsvRow | BadCsvRow":
        if len(fields) == len(self.header) + 1 and not fields[-1]:
            fields = fields[:-1]
        cells = dict(zip(self.header, fields, strict=False))
        if len(fields) != len(self.header):
            reason = f"has {len(fields)} fields, the header {len(self.header)}"
            return self._bad(reason, cells, is_shifted=True)
        for field in fields:
            if not is_utf_8(field):
                reason = f"not UTF-8: {shown(field)}; {other_encoding(self._path)}"
                return self._bad(reason, cells)
        if self._lines.number > self._began and any(
            "\n" in cells[name] for name in cells if name in _ONE_LINE
        ):
            return self._bad("a field has a line break in it", {})
        return CsvRow(self._began, cells)

    def _bad(self, reason: str, cells: Mapping[str, str], *, is_shifted: bool = False) -> BadCsvRow:
        began, until = self._began or self._lines.number, self._lines.number
        if until > began:
            reason = f"lines {began}-{until} are one row because of a quote: {reason}"
            cells = {}
        return BadCsvRow(
            reason, line=began, rows=until - began + 1, cells=cells, is_shifted=is_shifted
        )

    def _new_reader(self) -> "Iterator[list[str]]":
        if self._delimiter == "\t":
            # Tab-separated values know no quotes: one in a name is one in a name.
            return csv.reader(self._texts(), delimiter="\t", quoting=csv.QUOTE_NONE)
        return csv.reader(self._texts(), delimiter=self._delimiter, strict=True)

    def _texts(self) -> Iterator[str]:
        while True:
            try:
                line = next(self._lines, None)
            except Unreadable as bad:
                # The reader of rows must go on, so it gets an empty row; `__iter__` tells it.
                self._broken = bad
                line = b""
            if line is None:
                return
            self._began = self._began or self._lines.number
            yield line.decode("utf-8", "surrogateescape") + "\n"


def is_utf_8(text: str) -> bool:
    """Whether a field of a row could be decoded."""
    return text.isascii() or not re.search(r"[\udc80-\udcff]", text)


def _header(path: Path, lines: Lines) -> tuple[list[str], str]:
    """The names of the columns, and the delimiter: the commonest of that line."""
    delimiter = ""
    while True:
        try:
            first = next(lines, None)
            text = (first or b"").decode()
        except UnicodeDecodeError:
            raise OrdersFileError(
                f"{path}: line {lines.number} is not UTF-8; {other_encoding(path)}"
            ) from None
        except Unreadable as bad:
            raise OrdersFileError(f"{path}: line {lines.number} cannot be read: {bad}") from None
        if re.fullmatch(r"sep=.", text.strip()):
            delimiter = text.strip()[-1]
        elif text.strip():
            break
        elif first is None:
            raise OrdersFileError(f"{path} holds no order; it needs one a line (NDJSON or CSV)")
    if "\r" in text:
        raise OrdersFileError(
            f"{path}: a carriage return stands inside line {lines.number}; lines end with a line "
            f"feed: tr '\\r' '\\n' < FILE"
        )
    delimiter = delimiter or max(_DELIMITERS, key=text.count)
    header = _names(text, delimiter)
    if not _KNOWN.intersection(header):
        raise _no_header(path, lines, text)
    _refuse_twice(path, header)
    return header, delimiter


def _names(text: str, delimiter: str) -> list[str]:
    try:
        names = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        names = text.split(delimiter)
    return [
        ORDER if re.sub(r"[\s_#.-]", "", name.lower()) in _ORDER_NUMBERS else name.strip().lower()
        for name in names
    ]


def _refuse_twice(path: Path, header: Sequence[str]) -> None:
    twice = sorted({name for name in header if name in _KNOWN and header.count(name) > 1})
    if twice:
        raise OrdersFileError(
            f"{path}: the columns {', '.join(twice)} stand twice; keep one of each"
            if len(twice) > 1
            else f"{path}: the column {twice[0]} stands twice; keep one of them (order_id, order "
            "number and the like are `order` too)"
        )
    if PRICE in header and "unit_price_cents" in header:
        raise OrdersFileError(
            f"{path} has the columns unit_price and unit_price_cents; keep the one that is right"
        )


def _no_header(path: Path, lines: Lines, text: str) -> OrdersFileError:
    """The header may stand further below, or nowhere."""
    first = lines.number
    for _ in range(_SOUGHT_LINES):
        try:
            line = next(lines, None)
        except Unreadable:
            continue
        if line is None:
            break
        below = line.decode("utf-8", "replace")
        if len(_KNOWN.intersection(_names(below, max(_DELIMITERS, key=below.count)))) >= 3:
            return OrdersFileError(
                f"{path}: line {lines.number} looks like the header; take the lines before it away"
            )
    return OrdersFileError(
        f"{path} has no header: its first line is {shown(text, longest=_HEADER_SHOWN)} (line "
        f"{first}); the columns {', '.join(ORDER_COLUMNS)}, and items as JSON or "
        f"{', '.join(ITEM_COLUMNS)}, must be named there"
    )
