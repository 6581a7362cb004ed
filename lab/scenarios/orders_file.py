"""Reads orders from a file, line by line: NDJSON or CSV, plain or gzip, of any length.

A line that cannot be read is counted with its number and reason, and the rest runs. A readable
order is posted with its fields as they are. What makes a file as a whole unfit is found before
anything is posted. Not here: whether an order is any good, which the API decides, the bytes
(`orders_source`), lines and their values (`orders_lines`), and CSV (`orders_csv`).
"""

import io
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from lab.domain.envelope import format_time
from lab.scenarios.orders_csv import read_csv
from lab.scenarios.orders_lines import (
    BOM,
    FIELDS,
    Lines,
    OrdersFileError,
    RawOrder,
    Unreadable,
    decode_json,
    encode_body,
    parse_at,
    shown,
)
from lab.scenarios.orders_recognise import (
    START_BYTES,
    refuse_other_formats,
    refuse_other_json,
)
from lab.scenarios.orders_source import open_orders, stamp
from lab.scenarios.scenario import SAMPLE
from lab.scenarios.workload import OrdersInput, PlannedOrder, Workload, idempotency_key

SAMPLE_PATH: Final = Path(__file__).resolve().parents[1] / "data" / "orders-sample.ndjson.gz"
_JSON_NAMES: Final = frozenset({".ndjson", ".jsonl", ".json"})


def from_file(
    path: "str | Path",
    *,
    seed: int,
    orders: int | None = None,
    rate: float | None = None,
    speed: float = 1.0,
) -> Workload:
    """The orders of a file in its order; close the workload if it is not taken to its end.

    Args:
        path: an NDJSON or CSV file, plain or gzip; `-` is standard input, `sample` the shipped one.
        seed: of the run; the Idempotency-Keys come from it.
        orders: stop after so many readable ones.
        rate: orders a second; without it they come at their recorded times, and one whose time
            lies before its predecessor's comes together with that.
        speed: recorded times are compressed by this factor.

    Raises:
        OrdersFileError: the file cannot be read, is empty, is no file of orders, holds no readable
            order, or most of its orders stand before their predecessor.
    """
    needs_at = rate is None
    name = SAMPLE_PATH if str(path) == SAMPLE else Path(path)
    torn: Mapping[str, str] = {}
    if name is not SAMPLE_PATH:
        torn = _look_over(name, stamp(name), needs_at=needs_at, orders=orders)
    given = OrdersInput()
    workload = Workload(given=given)
    file = open_orders(name)
    arrivals = _Arrivals(rate=rate, speed=speed, given=given)
    planned = _planned(
        _whole(_orders_of(name, file, needs_at=needs_at), torn),
        workload=workload,
        arrivals=arrivals,
        seed=seed,
        orders=orders,
        file=file,
    )
    return workload.give(planned, close=file.close)


def _planned(
    found: "Iterator[RawOrder | Unreadable]",
    *,
    workload: Workload,
    arrivals: "_Arrivals",
    seed: int,
    orders: int | None,
    file: io.BufferedIOBase,
) -> Iterator[PlannedOrder]:
    ordinal, given = 0, arrivals.given
    with file:
        for raw in found:
            given.rows += raw.rows
            if isinstance(raw, Unreadable):
                workload.report(raw.line, str(raw))
                given.unreadable += raw.rows
                continue
            ordinal += 1
            workload.read += 1
            given.orders += 1
            at_us = arrivals.at_us(ordinal, raw.at_us)
            key = idempotency_key(seed, ordinal)
            yield PlannedOrder(ordinal, at_us, raw.body, key, line=raw.line)
            if ordinal == orders:
                return


class _Arrivals:
    """When each order is posted, in microseconds after the first."""

    def __init__(self, *, rate: float | None, speed: float, given: OrdersInput) -> None:
        self._rate = rate
        self._speed = speed
        self.given = given
        self._first_us = 0
        self._previous_us = 0
        self._last_us = 0

    def at_us(self, ordinal: int, recorded_us: int | None) -> int:
        """The moment of the next order; never before the one before it."""
        if self._rate is not None:
            return int((ordinal - 1) * 1_000_000 / self._rate)
        assert recorded_us is not None
        given, at = self.given, format_time(recorded_us).decode()
        if ordinal == 1:
            self._first_us = self._previous_us = recorded_us
            given.first_at = given.last_at = at
        given.before_predecessor += recorded_us < self._previous_us
        given.first_at = min(given.first_at, at)
        given.last_at = max(given.last_at, at)
        self._previous_us = recorded_us
        self._last_us = max(self._last_us, int((recorded_us - self._first_us) / self._speed))
        return self._last_us


@lru_cache(maxsize=4)
def _look_over(
    path: Path,
    stamp: tuple[int, int],  # noqa: ARG001 - a file that was changed is looked over again
    *,
    needs_at: bool,
    orders: int | None,
) -> Mapping[str, str]:
    """Read the file once, before anything is posted.

    Returns:
        The reason against each order number that comes back further below.

    Raises:
        OrdersFileError: see `from_file`.
    """
    lines: dict[str, int] = {}
    torn: dict[str, str] = {}
    first: Unreadable | None = None
    count = before = unreadable = 0
    previous_us: int | None = None
    with open_orders(path) as file:
        for raw in _orders_of(path, file, needs_at=needs_at):
            number = raw.number
            if number in lines:
                torn.setdefault(
                    number,
                    f"order {shown(number)} of line {lines[number]} comes back in line {raw.line}; "
                    "sort the file by order",
                )
            elif number:
                lines[number] = raw.line
            if isinstance(raw, Unreadable):
                first = first or raw
                unreadable += raw.rows
                continue
            count += 1
            if count == orders and not number:
                break
            if raw.at_us is not None and previous_us is not None:
                before += raw.at_us < previous_us
            previous_us = raw.at_us
    if count and lines and len(torn) == len(lines):
        raise OrdersFileError(f"{path}: no order stands in one place: {next(iter(torn.values()))}")
    if not count:
        raise _no_order(path, first, unreadable)
    if before * 2 > count - 1 and count > 1:
        raise OrdersFileError(
            f"{path}: {before:,} of {count:,} orders stand before their predecessor; sort the file "
            "by time, oldest first, or give --rate"
        )
    return torn


def _whole(
    found: "Iterator[RawOrder | Unreadable]", torn: Mapping[str, str]
) -> "Iterator[RawOrder | Unreadable]":
    """The orders, those left out that come back further below: each part would be a wrong order."""
    for raw in found:
        if isinstance(raw, RawOrder) and raw.number in torn:
            yield Unreadable(torn[raw.number], line=raw.line, rows=raw.rows)
        else:
            yield raw


def _orders_of(
    path: Path, file: io.BufferedReader, *, needs_at: bool
) -> "Iterator[RawOrder | Unreadable]":
    """Every order or unreadable line of the file.

    Raises:
        OrdersFileError: it is no file of orders.
    """
    try:
        start = file.peek(START_BYTES)[:START_BYTES]
    except (OSError, EOFError, zlib.error) as bad:
        raise OrdersFileError(f"{path} is a damaged gzip file: {bad}") from None
    if not start:
        raise OrdersFileError(f"{path} is empty; it needs one order a line (NDJSON or CSV)")
    refuse_other_formats(path, start)
    suffixes = {suffix.lower() for suffix in path.suffixes}
    looks_like_json = start.removeprefix(BOM).lstrip()[:1] in (b"{", b"[", b"")
    if looks_like_json:
        refuse_other_json(path, start)
    elif ".csv" in suffixes or not suffixes & _JSON_NAMES:
        return read_csv(path, Lines(file), needs_at=needs_at)
    return _read_ndjson(Lines(file), needs_at=needs_at)


def _no_order(path: Path, first: Unreadable | None, unreadable: int) -> OrdersFileError:
    if first is None:
        return OrdersFileError(f"{path} holds no order; it needs one a line (NDJSON or CSV)")
    rows = "1 unreadable line" if unreadable == 1 else f"{unreadable:,} unreadable lines"
    return OrdersFileError(
        f"{path} holds no readable order ({rows}; line {first.line}: {first}); one JSON object a "
        "line is needed, or CSV with a header"
    )


def _read_ndjson(lines: Lines, *, needs_at: bool) -> "Iterator[RawOrder | Unreadable]":
    while True:
        try:
            line = next(lines, None)
            if line is None:
                return
            if line.strip():
                yield _order_of_json(lines.number, line, needs_at=needs_at)
        except Unreadable as bad:
            bad.line = lines.number
            yield bad


def _order_of_json(number: int, line: bytes, *, needs_at: bool) -> RawOrder:
    given = decode_json(line)
    if not isinstance(given, dict):
        raise Unreadable(f"not a JSON object: {shown(line)}")
    at_us = parse_at(given.get("at"), is_needed=needs_at)
    fields = {name: given[name] for name in FIELDS if name in given}
    return RawOrder(number, at_us, encode_body(fields))
