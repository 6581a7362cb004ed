"""Lines of a file of orders, and the values in them: bounded, as tolerant as the API's own reading.

Not here: the way from lines to an order (`orders_file` for NDJSON, `orders_csv`).
"""

import io
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, NoReturn

import msgspec

LINE_BYTES_MAX: Final = 1 << 20
_SKIPPED_BYTES_MAX: Final = 1 << 28
FIELDS: Final = ("customer_id", "country", "currency", "items")
"""The fields of a line that are posted; everything else of it is left out."""

BOM: Final = b"\xef\xbb\xbf"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_INT_DIGITS_MAX: Final = 300
_MS_DIGITS: Final = 13
_UNIX_TIME: Final = re.compile(r"(\d{10}|\d{13})", re.ASCII)
_ZONE: Final = re.compile(r" +(UTC|GMT|Z|[+-]\d\d:?\d\d)$", re.ASCII)
_SHOWN_MAX: Final = 40

_encode = msgspec.json.Encoder().encode


class OrdersFileError(ValueError):
    """An orders file that cannot be used at all; the message names place and remedy."""


class Unreadable(Exception):
    """Something in the file is no order; the text is the reason.

    Attributes:
        line: where it is.
        rows: how many rows are left out for it: all rows of the order that it is in.
        number: of that order, "" without one.
    """

    def __init__(self, reason: str, *, line: int = 0, rows: int = 1, number: str = "") -> None:
        super().__init__(reason)
        self.line = line
        self.rows = rows
        self.number = number


class RawOrder(NamedTuple):
    """One order as it stands in the file.

    Attributes:
        line: its first one.
        at_us: counts from 1970, a time without a zone taken as UTC; None: it has no time.
        rows: how many rows of the file it is made of.
        number: in the column of order numbers, "" without one.
    """

    line: int
    at_us: int | None
    body: bytes
    rows: int = 1
    number: str = ""


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
            # A cut or damaged gzip file: the lines before it are good, and this is its last one.
            self._file = io.BytesIO()
            self.number += 1
            raise Unreadable(f"the file breaks off here: {bad}", line=self.number) from None
        if self.number == 1:
            line = line.removeprefix(BOM)
        return line.rstrip(b"\r\n")

    def _skip_line(self) -> NoReturn:
        """Go to the end of an overlong line; one without an end ends the file."""
        for _ in range(_SKIPPED_BYTES_MAX // LINE_BYTES_MAX):
            rest = self._file.readline(LINE_BYTES_MAX)
            if not rest or rest.endswith(b"\n"):
                raise Unreadable(f"longer than {LINE_BYTES_MAX:,} bytes")
        self._file = io.BytesIO()
        raise Unreadable(f"longer than {_SKIPPED_BYTES_MAX:,} bytes: nothing behind it was read")


def decode_json(text: bytes) -> object:
    """The value of a JSON text, as tolerant as the API's own reading of a body.

    Raises:
        Unreadable: not UTF-8, not JSON (NaN is none), nested too deeply, a number beyond reason.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Rare: the slower decoder reads lone surrogates, and names the mistake better.
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
    """The body of `POST /orders`; lone surrogates stay as they are."""
    try:
        return _encode(fields)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(fields, separators=(",", ":")).encode()
    except RecursionError:
        raise Unreadable("nested too deeply") from None


def parse_at(given: object, *, is_needed: bool) -> int | None:
    """Microseconds since 1970 of an ISO-8601 text, or of seconds or milliseconds since 1970.

    None if there is no readable time and none is needed.

    Raises:
        Unreadable: it is missing though needed, or no time.
    """
    if not is_needed:
        return None
    if given is None or given == "":
        raise Unreadable("has no time `at`; with --rate it needs none")
    if type(given) is int:
        given = str(given)
    if isinstance(given, str) and (counted := _UNIX_TIME.fullmatch(given.strip())):
        return int(counted[1]) * (1_000 if len(counted[1]) == _MS_DIGITS else 1_000_000)
    try:
        if not isinstance(given, str) or not re.match(r"\d{4}-?\d\d-?\d\d", given, re.ASCII):
            raise ValueError
        at = datetime.fromisoformat(_ZONE.sub(_zone, given.strip()))
        # In UTC, years 1 to 9999 only: what lies beyond could not be written down again.
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unreadable(f"`at` is no time such as 2010-12-01T08:26:00: {shown(given)}") from None
    return (at - _EPOCH) // _US


def _zone(found: re.Match[str]) -> str:
    """The zone as the standard library reads it: without a blank before it, UTC as an offset."""
    return "+00:00" if found[1] in ("UTC", "GMT", "Z") else found[1]


def shown(given: object, *, longest: int = _SHOWN_MAX) -> str:
    """A value in a message: plain letters, and not too many of them."""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
    cut = text if len(text) <= longest else text[:longest] + "..."
    return ascii(cut)
