"""Holds back log lines that say the same again: a failure that lasts is one line a second.

Where a server is away every client of it complains forty times a second, each in the words of its
library. The first line of a kind is written at once; for a second the others of that kind are held
back and counted, and the next one that is written says how many there were. Not here: formats
(`ecs`).
"""

import logging
import re
from collections import OrderedDict
from typing import Final

REPEATED: Final = "lab.repeated"
EVERY_S: Final = 1.0
KINDS_MAX: Final = 1_000
"""Beyond this the kind that was written longest ago is forgotten, with its count."""

LIBRARIES: Final = frozenset({"aiokafka", "asyncpg", "httpcore", "httpx", "redis"})
"""Clients of servers: all that one of them says is of one kind. Their errors reach us as such, and
each part that goes away has a line of its own."""

_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\d+")


class Repeats(logging.Filter):
    """Lets one line of a kind through each second; time is that of the records.

    Lines are of one kind if logger, level and template are equal, numbers aside: not every library
    leaves its numbers to the template. All that the client of a server says is one kind: in an
    outage it has a dozen templates, again and again. A line with an `event.id` of its own tells
    what happened to one event, and is of a kind only with lines that say the very same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: OrderedDict[tuple[str, int, str], _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it; one that follows others that were held back is told their number."""
        kind = self._kind(record)
        age_s = record.created - kind.written_s
        # A clock that was set back would hold it back for as long.
        if 0 <= age_s < EVERY_S:
            kind.held += 1
            return False
        if kind.held:
            setattr(record, REPEATED, kind.held)
        kind.held, kind.written_s = 0, record.created
        return True

    def _kind(self, record: logging.LogRecord) -> "_Kind":
        library, text = record.name.partition(".")[0], str(record.msg)
        if has_event_id(record):
            key = record.name, record.levelno, text
        elif library in LIBRARIES:
            key = library, 0, ""
        else:
            key = record.name, record.levelno, _alike(text)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind()
            if len(self._kinds) > KINDS_MAX:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(key)
        return kind


class _Kind:
    """The lines of one kind."""

    __slots__ = ("held", "written_s")

    def __init__(self) -> None:
        self.written_s = float("-inf")
        self.held = 0


def has_event_id(record: logging.LogRecord) -> bool:
    """Whether the line has an `event.id` already: then it is told by the history's fold."""
    event = record.__dict__.get("event")
    return "event.id" in record.__dict__ or (isinstance(event, dict) and "id" in event)


def _alike(text: str) -> str:
    return _VARYING.sub("0", text)
