"""Reads orders from a file, line by line: NDJSON or CSV, plain or gzip, of any length.

A line that cannot be read is counted with its number and reason, and the rest runs. A readable
order is posted with its fields as they are. Not here: whether an order is any good, which the API
decides, lines and their values (`orders_lines`), and CSV's columns (`orders_csv`).
"""

import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

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
from lab.scenarios.scenario import SAMPLE
from lab.scenarios.workload import PlannedOrder, Workload, idempotency_key

SAMPLE_PATH: Final = Path(__file__).resolve().parents[1] / "data" / "orders-sample.ndjson.gz"
_GZIP: Final = b"\x1f\x8b"


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
        path: an NDJSON or CSV file, plain or gzip; `sample` is the shipped one.
        seed: of the run; the Idempotency-Keys come from it.
        orders: stop after so many readable ones.
        rate: orders a second; without it they come at their recorded times, and one whose time
            lies before its predecessor's comes together with that.
        speed: recorded times are compressed by this factor.

    Raises:
        OrdersFileError: the file cannot be read, is empty, or holds no readable order.
    """
    name = SAMPLE_PATH if str(path) == SAMPLE else Path(path)
    workload = Workload()
    with ExitStack() as closing:
        file = closing.enter_context(_open(name))
        found = _orders_of(name, file, needs_at=rate is None)
        first = _first(name, found, workload)
        closing.pop_all()
    arrivals = _Arrivals(rate=rate, speed=speed)
    planned = _planned(
        first, found, workload=workload, arrivals=arrivals, seed=seed, orders=orders, file=file
    )
    return workload.give(planned, close=file.close)


def _planned(
    first: RawOrder,
    found: "Iterator[RawOrder | Unreadable]",
    *,
    workload: Workload,
    arrivals: "_Arrivals",
    seed: int,
    orders: int | None,
    file: io.BufferedIOBase,
) -> Iterator[PlannedOrder]:
    with file:
        raw: RawOrder | Unreadable | None = first
        ordinal = 0
        while raw is not None:
            if isinstance(raw, Unreadable):
                workload.report(raw.line, str(raw))
            else:
                ordinal += 1
                workload.read += 1
                at_us = arrivals.at_us(ordinal, raw.at_us)
                yield PlannedOrder(ordinal, at_us, raw.body, idempotency_key(seed, ordinal))
                if ordinal == orders:
                    return
            raw = next(found, None)


class _Arrivals:
    """When each order is posted, in microseconds after the first."""

    def __init__(self, *, rate: float | None, speed: float) -> None:
        self._rate = rate
        self._speed = speed
        self._first_us = 0
        self._last_us = 0

    def at_us(self, ordinal: int, recorded_us: int | None) -> int:
        """The moment of the next order; never before the one before it."""
        if self._rate is not None:
            return int((ordinal - 1) * 1_000_000 / self._rate)
        assert recorded_us is not None
        if ordinal == 1:
            self._first_us = recorded_us
        self._last_us = max(self._last_us, int((recorded_us - self._first_us) / self._speed))
        return self._last_us


def _open(path: Path) -> io.BufferedIOBase:
    """The file's bytes, unpacked."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise OrdersFileError(f"{path} is a directory; name a file of orders (NDJSON or CSV)")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise OrdersFileError(f"{path} is a device; name a file of orders (NDJSON or CSV)")
        file = path.open("rb")
    except FileNotFoundError:
        raise OrdersFileError(
            f"there is no file {path}; name one, or `{SAMPLE}` for the shipped orders"
        ) from None
    except (OSError, ValueError) as bad:
        why = getattr(bad, "strerror", None) or bad
        raise OrdersFileError(f"cannot read {path}: {why}") from None
    if file.peek(2)[:2] == _GZIP:
        # GzipFile would leave `file` open when it is closed; a reader over it closes both.
        return io.BufferedReader(_Unpacked(file))
    return file


class _Unpacked(gzip.GzipFile):
    """A gzip file that closes the file below it."""

    def __init__(self, below: io.BufferedReader) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()


def _orders_of(
    path: Path, file: io.BufferedIOBase, *, needs_at: bool
) -> "Iterator[RawOrder | Unreadable]":
    """Every order or unreadable line of the file."""
    try:
        start = file.peek(64) if isinstance(file, io.BufferedReader) else b""
    except (OSError, EOFError, zlib.error) as bad:
        raise OrdersFileError(f"{path} is a damaged gzip file: {bad}") from None
    if not start:
        raise OrdersFileError(f"{path} is empty; it needs one order a line (NDJSON or CSV)")
    lines = Lines(file)
    suffixes = {suffix.lower() for suffix in path.suffixes}
    looks_like_json = start.removeprefix(BOM).lstrip()[:1] in (b"{", b"[", b"")
    if ".csv" in suffixes or (
        not looks_like_json and not suffixes & {".ndjson", ".jsonl", ".json"}
    ):
        return read_csv(path, lines, needs_at=needs_at)
    return _read_ndjson(lines, needs_at=needs_at)


def _first(path: Path, found: "Iterator[RawOrder | Unreadable]", workload: Workload) -> RawOrder:
    for raw in found:
        if isinstance(raw, RawOrder):
            return raw
        workload.report(raw.line, str(raw))
    if not workload.unreadable:
        raise OrdersFileError(f"{path} holds no order; it needs one a line (NDJSON or CSV)")
    worst = workload.unreadable_lines[0]
    raise OrdersFileError(
        f"{path} holds no readable order ({workload.unreadable:,} unreadable lines; line "
        f"{worst.line}: {worst.reason}); one JSON object a line is needed, or CSV with a header"
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
