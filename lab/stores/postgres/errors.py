"""Errors of PostgreSQL and its driver as errors of the lab. The map is complete: a test reads it.

The question is whether anything can have been applied. Before a statement was handed over, or when
the server answered that it rolled back, nothing was. A lost connection or a passed deadline after
it was handed over leaves a change in doubt; a read is then simply not answered.
"""

import asyncio
from enum import Enum
from typing import Final

import asyncpg

from lab.domain.errors import Down, Indeterminate, LabError, Permanent, Transient, Unclassified

DEPENDENCY: Final = "postgres"
AGAIN_AFTER_US: Final = 200_000

VendorErrors: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)
"""Everything that the driver raises at a call. Anything else is a mistake of the caller."""


class Stage(Enum):
    """How far a call had come."""

    CONNECT = "connecting"
    READ = "reading"
    CHANGE = "changing"


_TRANSIENT: Final = ("40", "55P03", "57014")
"""Serialization failure, deadlock, lock timeout, cancelled statement: the server rolled back."""

_LOST: Final = ("08", "40003", "57P01", "57P02", "57P05")
"""The connection went away; a commit may have been on its way back."""

_DOWN: Final = ("25006", "28", "3D", "3F", "42501", "42P01", "42883", "53", "57", "58")
"""Of no use for a while: read only, no rights, no such database or table, no room, shut down."""

_REMEDIES: Final = {
    "28": "look at user and password, and at the server's pg_hba.conf",
    "3D": "make the database (createdb), or name another one",
    "42501": 'have "lab migrate" run by a role that may create; this one needs the rights that '
    "docs/standing.md grants",
    "53300": "raise its max_connections, or start fewer processes: each takes up to 8",
    "25006": "name the primary: this one takes no writes",
}
"""What helps, by the beginning of the server's code. Starting another server helps with none."""

_PERMANENT: Final = ("22", "23514")
"""The value itself is refused."""


def to_lab_error(error: BaseException, stage: Stage, where: str) -> LabError:
    """The error of the lab for one of the driver.

    Args:
        error: one of `VendorErrors`.
        stage: how far the call had come.
        where: the server as it may be shown.
    """
    state = getattr(error, "sqlstate", None) or ""
    text = f"PostgreSQL at {where}: {said(error)}"
    if stage is Stage.CONNECT:
        return _down(text)
    if state:
        if state.startswith(_LOST):
            return _lost(stage, text)
        if state.startswith(_TRANSIENT):
            return Transient(text)
        if state.startswith(_DOWN):
            return _down(text)
        if state.startswith(_PERMANENT):
            return Permanent(text)
        return Unclassified(text, kind=type(error).__name__)
    # Also the driver's internal errors: it raises one for a connection that is just being ended.
    return _lost(stage, text)


def remedy_for(error: BaseException) -> str:
    """The advice that fits the cause; "" if nothing is known of it."""
    state = getattr(error, "sqlstate", None) or ""
    return next((remedy for code, remedy in _REMEDIES.items() if state.startswith(code)), "")


def is_of_a_pooler(error: BaseException) -> bool:
    """Whether a pooler is to blame: it knows no such parameter, or gave the session to another."""
    is_parameter = isinstance(error, asyncpg.ProtocolViolationError) and "parameter" in str(error)
    return is_parameter or isinstance(
        error, asyncpg.DuplicatePreparedStatementError | asyncpg.InvalidSQLStatementNameError
    )


def _lost(stage: Stage, text: str) -> LabError:
    return Indeterminate(text) if stage is Stage.CHANGE else _down(text)


def _down(text: str) -> Down:
    return Down(text, dependency=DEPENDENCY, after_us=AGAIN_AFTER_US)


def said(error: BaseException) -> str:
    """The error in one line, without the driver's own words: they may quote the address."""
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        first = str(error).strip().splitlines()
        return f"{name}: {first[0]}" if first else name
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return f"{name} {error.errno or ''}".strip()
    return name
