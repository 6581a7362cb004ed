"""A dead letter for people, and for programs: a row of a list, or the whole of it.

Not here: which letters there are (`dlq`).
"""

import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lab.cli.measures import age

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lab.domain.envelope import Headers
    from lab.patterns.redrive import Letter

_ID_MIN: Final = 8
_VALUE_SHOWN_MAX: Final = 4_000
_US: Final = 1_000_000
_BASE64: Final = "base64:"


def whole(letter: "Letter", *, why_not: str) -> Mapping[str, object]:
    """Everything about one letter, as JSON; bytes that are no UTF-8 as `base64:...`.

    Args:
        letter: the letter.
        why_not: why it may not be sent back now, "" if it may.
    """
    record = letter.record
    return {
        **row(letter, why_not=why_not),
        "origin": {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
        },
        "attempt_log": [
            {"at": _instant(at_us), "class": kind, "message": message}
            for at_us, kind, message in letter.failures
        ],
        "headers": [[name, _text(value)] for name, value in record.headers],
        "key": _text(record.key),
        "value": _text(record.value),
    }


def list_page(letters: "Sequence[Letter]", system: str) -> "Iterator[RenderableType]":
    """Some letters of a system, a line each."""
    from lab.cli import render

    if not letters:
        yield f"no dead letter in the queues of {system}"
        return
    groups = Counter(one.group for one in letters)
    of_groups = ", ".join(f"{group} {count}" for group, count in groups.items())
    yield f"{len(letters)} in the dead-letter queues of {system}: {of_groups}"
    yield ""
    short = _shortest(letters)
    now_s = time.time()
    cells = [
        (
            legible(one.event_id[:short]),
            age(now_s - one.died_us / _US),
            one.group,
            one.reason,
            legible(one.event_type),
            str(one.redrives),
            legible(f"{one.error}: {one.message}" if one.message else one.error),
        )
        for one in letters
    ]
    yield render.listing(("Letter", "Age", "Group", "Reason", "Type", "Redriven", "Error"), cells)


def show_page(letter: "Letter") -> "Iterator[RenderableType]":
    """One letter whole."""
    from lab.cli import render
    from lab.patterns.redrive import REDRIVES_MAX

    record = letter.record
    died = f"{_instant(letter.died_us)}, {age(time.time() - letter.died_us / _US)} ago"
    facts = [
        ("Letter", letter.event_id),
        ("Type", letter.event_type or "unknown"),
        ("Order", _text(record.key)),
        ("Group", letter.group),
        ("Reason", letter.reason),
        ("Error", f"{letter.error}: {letter.message}"),
        ("Died", died),
        ("Attempts", f"{letter.attempts}, with {letter.starts} starts of its handler"),
        ("Redriven", f"{letter.redrives} of {REDRIVES_MAX} times"),
        ("Stands at", letter.place),
        ("Came from", f"{record.topic}/{record.partition}/{record.offset}"),
    ]
    yield render.labelled((label, legible(text)) for label, text in facts)
    if letter.failures:
        yield from ("", "Attempts")
        yield render.labelled(
            (_instant(at_us), legible(f"{kind}: {message}"))
            for at_us, kind, message in letter.failures
        )
    yield from ("", "Headers")
    yield render.labelled(_headers(record.headers))
    yield from ("", f"Value, {len(record.value):,} bytes")
    yield legible(_text(record.value[:_VALUE_SHOWN_MAX]))
    if len(record.value) > _VALUE_SHOWN_MAX:
        yield "... (--json has all of it)"


def legible(text: str) -> str:
    """Text of others on a line of ours: without what would move the cursor or hide the rest."""
    from lab.report.html.markup import shown

    return shown(text.replace("\n", " ").replace("\t", " "))


def row(letter: "Letter", *, why_not: str) -> Mapping[str, object]:
    """A letter of a list, as JSON; instants in RFC 3339. `why_not` as for `whole`."""
    return {
        "letter": letter.event_id,
        "group": letter.group,
        "type": letter.event_type,
        "order": _text(letter.record.key),
        "reason": letter.reason,
        "error": letter.error,
        "message": letter.message,
        "attempts": letter.attempts,
        "starts": letter.starts,
        "redrives": letter.redrives,
        "can_be_redriven": not why_not,
        "why_not": why_not,
        "died": _instant(letter.died_us),
        "first_failure": _instant(letter.first_failure_us) if letter.first_failure_us else None,
        "place": letter.place,
    }


def _shortest(letters: "Sequence[Letter]") -> int:
    """The number of characters by which the ids can be told apart."""
    ids = {one.event_id for one in letters}
    longest = max(map(len, ids))
    return next(
        (n for n in range(_ID_MIN, longest) if len({one[:n] for one in ids}) == len(ids)), longest
    )


def _headers(headers: "Headers") -> Iterator[tuple[str, str]]:
    return ((legible(name), legible(_text(value))) for name, value in headers)


def _instant(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us / _US, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return "?"


def to_bytes(text: str) -> bytes:
    """What is shown as this text."""
    if text.startswith(_BASE64):
        try:
            return b64decode(text.removeprefix(_BASE64), validate=True)
        except ValueError:
            pass
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"{_BASE64}{b64encode(data).decode()}"
