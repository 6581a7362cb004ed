"""What a file is that holds no orders as the lab reads them, and the command that makes it one.

People give what they have: an Excel workbook, a dump of a topic, a file in another encoding. Told
what it is, they are one command away from a run. Not here: the reading itself (`orders_file`).
"""

import json
import shlex
from pathlib import Path
from typing import Final

from lab.scenarios.orders_lines import BOM, OrdersFileError

_PACKED: Final = (
    (b"BZh", "a bzip2 file", "bzip2 -dc {file}"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "zstd -dc {file}"),
    (b"\xfd7zXZ\x00", "an xz file", "xz -dc {file}"),
)
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_PIPED: Final = "`{command} | lab run real-orders --orders-from -`"
START_BYTES: Final = 4096
"""How much of a file's beginning is looked at."""


def refuse_other_formats(path: Path, start: bytes) -> None:
    """Look at the first bytes of a file.

    Raises:
        OrdersFileError: they are known, and are not those of a text in UTF-8.
    """
    file = shlex.quote(str(path))
    for magic, what, command in _PACKED:
        if start.startswith(magic):
            piped = _PIPED.format(command=command.format(file=file))
            raise OrdersFileError(f"{path} is {what}; unpack it: {piped}")
    if start.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in start or b"xl/" in start:
            raise OrdersFileError(f"{path} is an Excel workbook; save the sheet as CSV (UTF-8)")
        piped = _PIPED.format(command=f"unzip -p {file}")
        raise OrdersFileError(f"{path} is a zip archive; unpack it: {piped}")
    if start.startswith(b"PAR1"):
        raise OrdersFileError(
            f"{path} is a Parquet file; write it as CSV, for example with "
            f"`duckdb -c \"copy (from '{path.name}') to 'orders.csv'\"`"
        )
    if start.startswith(_UTF_16) or _looks_like_utf_16(start):
        piped = _PIPED.format(command=f"iconv -f utf-16 -t utf-8 {file}")
        raise OrdersFileError(f"{path} is UTF-16, not UTF-8: {piped}")


def refuse_other_json(path: Path, start: bytes) -> None:
    """Look at the beginning of a file that holds JSON.

    Raises:
        OrdersFileError: it is an array, one value over many lines, or an envelope around orders.
    """
    file = shlex.quote(str(path))
    text = start.removeprefix(BOM).lstrip()
    if text.startswith(b"["):
        raise _as_lines(path, "a JSON array", f"jq -c '.[]' {file}")
    first, _, rest = text.partition(b"\n")
    if rest and first.rstrip() == b"{":
        raise _as_lines(path, "JSON over many lines", f"jq -c . {file}")
    try:
        given = json.loads(first)
    except (ValueError, RecursionError):
        return
    if not isinstance(given, dict):
        return
    if "items" not in given and isinstance(given.get("payload"), str):
        lines = f"{_json_lines(path)}, each an envelope of kcat"
        raise _as_lines(path, lines, f"jq -c '.payload | fromjson' {file}")
    if "items" not in given and "specversion" in given and "data" in given:
        data = ".data | fromjson" if isinstance(given["data"], str) else ".data"
        raise _as_lines(path, f"{_json_lines(path)}, each a CloudEvent", f"jq -c '{data}' {file}")
    if path.suffix.lower() == ".csv":
        raise OrdersFileError(f"{path} holds {_json_lines(path)}; name it {path.stem}.ndjson")


def other_encoding(path: Path) -> str:
    """The remedy for a text that is not UTF-8: nearly always it is the one of Windows."""
    command = f"iconv -f cp1252 -t utf-8 {shlex.quote(str(path))}"
    return f"it looks like Windows-1252: {_PIPED.format(command=command)}"


def _json_lines(path: Path) -> str:
    return "JSON lines" + (" in a file named .csv" if path.suffix.lower() == ".csv" else "")


def _as_lines(path: Path, what: str, command: str) -> OrdersFileError:
    piped = _PIPED.format(command=command)
    return OrdersFileError(f"{path} holds {what}; one order a line is needed: {piped}")


def _looks_like_utf_16(start: bytes) -> bool:
    """Every second byte of plain letters is NUL in UTF-16 without its mark."""
    head = start[:64]
    even, odd = head[::2], head[1::2]
    return len(head) >= 8 and ((all(even) and not any(odd)) or (all(odd) and not any(even)))
