"""Reads orders from a file, line by line: NDJSON or CSV, plain or gzip, of any length.

A line that cannot be read is counted with its number and reason, and the rest runs. What can be
read is posted with its fields as they are. Not here: whether an order is any good, which the API
decides, and CSV's columns (`orders_csv`).
"""

import gzip
import io
import json
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec

from lab.scenarios.scenario import SAMPLE
from lab.scenarios.workloads import PlannedOrder, Workload, idempotency_key

LINE_BYTES_MAX: Final = 1 << 20
_SKIPPED_BYTES_MAX: Final = 1 << 28
FIELDS: Final = ("customer_id", "country", "currency", "items")
"""What is posted of a line; everything else of it is left out."""

SAMPLE_PATH: Final = Path(__file__).resolve().parents[1] / "data" / "orders-sample.ndjson.gz"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_INT_DIGITS_MAX: Final = 300
_SHOWN_MAX: Final = 40

_encode = msgspec.json.Encoder().encode


class OrdersFileError(ValueError):
    """An orders file that cannot be used at all; the message names place and remedy."""


class Unreadable(Exception):
    """One line is no order; the text is the reason."""

    def __init__(self, reason: str, *, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


class RawOrder(NamedTuple):
    """One order as it stands in the file.

    `at_us` counts from 1970, times without a zone taken as UTC; None: it has no time.
    """

    line: int
    at_us: int | None
    body: bytes


class Lines:
    """The lines of an open file, bounded in length, and the number of the last one."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> bytes:
        """The next line without its end.

        Raises:
            Unreadable: it is too long (its rest is skipped), or the file breaks off.
        """
        try:
            line = self._file.readline(LINE_BYTES_MAX + 1)
            if not line:
                raise StopIteration
            self.number += 1
            if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
                self._skip_line()
        except (OSError, EOFError, zlib.error) as bad:
            # A cut or damaged gzip file: what came before it is good, and this is its last line.
            self._file = io.BytesIO()
            self.number += 1
            raise Unreadable(f"the file breaks off here: {bad}", line=self.number) from None
        if self.number == 1:
            line = line.removeprefix(_BOM)
        return line.rstrip(b"\r\n")

    def _skip_line(self) -> NoReturn:
        """Go to the end of an overlong line; one without an end ends the file."""
        for _ in range(_SKIPPED_BYTES_MAX // LINE_BYTES_MAX):
            rest = self._file.readline(LINE_BYTES_MAX)
            if not rest or rest.endswith(b"\n"):
                raise Unreadable(f"longer than {LINE_BYTES_MAX:,} bytes")
        self._file = io.BytesIO()
        raise Unreadable(f"longer than {_SKIPPED_BYTES_MAX:,} bytes: nothing behind it was read")


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
    looks_like_json = start.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[", b"")
    if ".csv" in suffixes or (
        not looks_like_json and not suffixes & {".ndjson", ".jsonl", ".json"}
    ):
        from lab.scenarios import orders_csv  # noqa: PLC0415 - it needs what stands here

        return orders_csv.read_csv(path, lines, needs_at=needs_at)
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


def decode_json(text: bytes) -> object:
    """The value of a JSON text, as tolerant as the API's own reading of a body.

    Raises:
        Unreadable: not UTF-8, not JSON (NaN is none), nested too deeply, a number beyond reason.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Rare: the slower decoder reads lone surrogates, and says better what is wrong.
        return _decode_slowly(text)


def _decode_slowly(text: bytes) -> object:
    try:
        return json.loads(
            text.decode(),
            parse_int=_bounded_int,
            parse_float=_bounded_float,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as bad:
        raise Unreadable(f"not UTF-8 at byte {bad.start}") from None
    except json.JSONDecodeError as bad:
        raise Unreadable(f"not JSON: {bad.msg} at character {bad.pos + 1}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def _bounded_int(text: str) -> int:
    if len(text) > _INT_DIGITS_MAX:
        raise Unreadable(f"a number of {len(text)} digits")
    return int(text)


def _bounded_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Unreadable(f"a number that is too large: {text[:_SHOWN_MAX]}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is no JSON")


def encode_body(fields: dict[str, object]) -> bytes:
    """The body of `POST /orders`; lone surrogates stay what they are."""
    try:
        return _encode(fields)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(fields, separators=(",", ":")).encode()
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def parse_at(given: object, *, is_needed: bool) -> int | None:
    """Microseconds since 1970 of an ISO-8601 text; None if it is missing and may be.

    Raises:
        Unreadable: it is missing though needed, or no time.
    """
    if given is None or given == "":
        if is_needed:
            raise Unreadable("has no time `at`; with --rate it needs none")
        return None
    try:
        if not isinstance(given, str) or not re.match(r"\d{4}-?\d\d-?\d\d", given, re.ASCII):
            raise ValueError
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Unreadable(f"`at` is no time such as 2010-12-01T08:26:00: {shown(given)}") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return (at - _EPOCH) // _US


def shown(given: object) -> str:
    """A value in a message: plain letters, and not too many of them."""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
    cut = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
    return ascii(cut)
