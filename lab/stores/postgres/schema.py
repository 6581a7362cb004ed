"""The schema of the order store: made, brought up to date and dropped; only ever one of ours.

A schema of ours carries a mark. One without it belongs to somebody else and is neither used nor
dropped. Migrations are the numbered files of `sql/`, each applied once and never changed. Where
nothing is to be made nothing is written, so a process may have a role that can make nothing.
Not here: the files, and any statement of the store.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from lab.domain.errors import EnvironmentNotReady
from lab.resources import how_to_start
from lab.stores.postgres.errors import VendorErrors, remedy_for, said
from lab.stores.postgres.link import PostgresServer, not_ready, open_session

VERSION_MIN: Final = 14
SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,49}")
_MARK: Final = "order store of pulse-lab"

STATEMENT_US: Final = 30_000_000
"""Least deadline of a statement that makes or drops: one after the other of several processes makes
the same schema, and a disk that is busy may take seconds for each."""
CONNECT_US: Final = 10_000_000
"""Least deadline of a connection for that: nobody has other work to do before."""

_SHARDS: Final = "outbox.shards"
_ADDITION: Final = "-- Addition: "
"""Begins a migration beside which a lab works that does not know it: it only adds."""

_MIGRATIONS_TABLE: Final = (
    "create table if not exists migrations (number integer primary key, name text not null, "
    "sha256 text not null, applied_at timestamptz not null default now()); "
    "alter table migrations add column if not exists is_addition boolean not null default false"
)
# The column may not be there yet.
_APPLIED: Final = (
    "select number, name, sha256, coalesce((to_jsonb(m) ->> 'is_addition')::boolean, false) "
    "as is_addition from migrations m"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file. `is_addition`: a lab that does not know it may go on beside it."""

    number: int
    name: str
    text: str

    @property
    def is_addition(self) -> bool:
        """Whether it only adds."""
        return self.text.startswith(_ADDITION)

    @property
    def sha256(self) -> str:
        """The digest by which it is known again."""
        return hashlib.sha256(self.text.encode()).hexdigest()


async def check(server: PostgresServer) -> str:
    """See that the server can be used; returns its version. Nothing is made on it.

    Raises:
        EnvironmentNotReady: it cannot be reached, refuses us, or is too old.
    """
    connection = await _connect(server)
    try:
        version = connection.get_server_version()
        _check_version(server, version)
    finally:
        await _close(connection, server)
    return _shown(version)


async def prepare(server: PostgresServer, *, shards: int) -> tuple[str, ...]:
    """Make the schema, or bring ours up to date. Several processes may do so at the same time.

    If it is there and new enough nothing is written, and no right to make anything is needed.

    Args:
        server: where.
        shards: shards of the outbox; fixed for the life of the schema.

    Returns:
        The names of the migrations that were applied.

    Raises:
        EnvironmentNotReady: it cannot be reached or is too old, or a pooler answers there; the
            schema is somebody else's, was made with other shards, or by a newer lab that did more
            than add to it.
    """
    connection = await _connect(_patient(server))
    try:
        _check_version(server, connection.get_server_version())
        if await _is_ready(connection, server, shards):
            return ()
        async with connection.transaction():
            await connection.execute(
                "select pg_advisory_xact_lock(hashtext('pulse-lab'), hashtext($1))", server.schema
            )
            if await _is_ours(connection, server) is None:
                await connection.execute(f'create schema "{server.schema}"')
                await connection.execute(f"comment on schema \"{server.schema}\" is '{_MARK}'")
            await _check_current(connection, server)
            await connection.execute(_MIGRATIONS_TABLE)
            missing = _missing(await connection.fetch(_APPLIED), server)
            for migration in missing:
                await _apply(connection, migration)
            await _agree(connection, server, shards)
        return tuple(migration.name for migration in missing)
    except VendorErrors as error:
        raise _unusable(server, error) from None
    finally:
        await _close(connection, server)


async def exists(server: PostgresServer) -> bool:
    """Whether the schema is there.

    Raises:
        EnvironmentNotReady: it is not ours, or the server cannot be reached.
    """
    connection = await _connect(server)
    try:
        return await _is_ours(connection, server) is not None
    except VendorErrors as error:
        raise _unusable(server, error) from None
    finally:
        await _close(connection, server)


async def ours(server: PostgresServer) -> list[str]:
    """The names of all schemas of ours on the server.

    Raises:
        EnvironmentNotReady: it cannot be reached.
    """
    connection = await _connect(server)
    try:
        rows = await connection.fetch(
            "select nspname from pg_namespace where obj_description(oid, 'pg_namespace') = $1 "
            "order by nspname",
            _MARK,
        )
    except VendorErrors as error:
        raise _unusable(server, error) from None
    else:
        return [row["nspname"] for row in rows]
    finally:
        await _close(connection, server)


async def drop(server: PostgresServer) -> bool:
    """Drop the schema with everything in it; False if there is none.

    Raises:
        EnvironmentNotReady: it is not ours, or the server cannot be reached.
    """
    connection = await _connect(_patient(server))
    try:
        is_ours = await _is_ours(connection, server)
        if is_ours is not None:
            await connection.execute("set lock_timeout = '5s'")
            await connection.execute(f'drop schema "{server.schema}" cascade')
    except VendorErrors as error:
        raise _unusable(server, error) from None
    else:
        return is_ours is not None
    finally:
        await _close(connection, server)


async def block_customers(server: PostgresServer, customers: Iterable[str]) -> None:
    """Have orders of these customers rejected from now on."""
    connection = await _connect(_patient(server))
    try:
        await connection.execute(
            "insert into blocked_customers select unnest($1::text[]) on conflict do nothing",
            list(customers),
        )
    except VendorErrors as error:
        raise _unusable(server, error) from None
    finally:
        await _close(connection, server)


def migrations() -> list[Migration]:
    """Each migration, in order."""
    folder = files("lab.stores.postgres").joinpath("sql")
    found = [entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(
            number=int(name.split("_", 1)[0]),
            name=name,
            text=folder.joinpath(name).read_text(encoding="utf-8"),
        )
        for name in sorted(found)
    ]


async def _is_ready(connection: Any, server: PostgresServer, shards: int) -> bool:
    """Whether there is nothing to make. Reads only."""
    if await _is_ours(connection, server) is None:
        return False
    await _check_current(connection, server)
    if await connection.fetchval("select to_regclass('migrations') is null"):
        return False
    if _missing(await connection.fetch(_APPLIED), server):
        return False
    known = await connection.fetchval("select value from made_with where name = $1", _SHARDS)
    _compare(server, known or str(shards), shards)
    return known is not None


async def _check_current(connection: Any, server: PostgresServer) -> None:
    """Refuse to make anything where statements would not go into the schema.

    Raises:
        EnvironmentNotReady: they would not.
    """
    current = await connection.fetchval("select current_schema()")
    if current != server.schema:
        raise not_ready(
            server,
            f"schema {server.schema} is there, and statements go into {current or 'none'}",
            f"let this role use it: grant usage on schema {server.schema} to ROLE",
        )


def _missing(rows: Iterable[Any], server: PostgresServer) -> list[Migration]:
    """The migrations that are still to be applied.

    Raises:
        EnvironmentNotReady: one was applied that this lab cannot live with.
    """
    applied = {row["number"]: row for row in rows}
    known = migrations()
    newer = [
        number
        for number in sorted(set(applied) - {migration.number for migration in known})
        if not applied[number]["is_addition"]
    ]
    if newer:
        raise not_ready(
            server,
            f"schema {server.schema} was made by a newer lab (migration {newer[-1]})",
            "update this one, or take another schema",
        )
    for migration in known:
        its = applied.get(migration.number)
        if its is not None and its["sha256"] != migration.sha256:
            raise not_ready(
                server,
                f"schema {server.schema} was made with another {migration.name}",
                "take another schema, or the lab that made this one",
            )
    return [migration for migration in known if migration.number not in applied]


async def _apply(connection: Any, migration: Migration) -> None:
    await connection.execute(migration.text)
    await connection.execute(
        "insert into migrations (number, name, sha256, is_addition) values ($1, $2, $3, $4)",
        migration.number,
        migration.name,
        migration.sha256,
        migration.is_addition,
    )


async def _agree(connection: Any, server: PostgresServer, shards: int) -> None:
    """Write down the making of the schema, or compare it."""
    known = await connection.fetchval(
        "insert into made_with as m (name, value) values ($1, $2) "
        "on conflict (name) do update set value = m.value returning value",
        _SHARDS,
        str(shards),
    )
    _compare(server, known, shards)


def _compare(server: PostgresServer, known: str, shards: int) -> None:
    if known != str(shards):
        raise not_ready(
            server,
            f"schema {server.schema} was made with {_SHARDS} = {known}, not {shards}",
            f"--set {_SHARDS}={known}, or take another schema",
        )


async def _is_ours(connection: Any, server: PostgresServer) -> bool | None:
    """True, or None if there is no such schema.

    Raises:
        EnvironmentNotReady: it is somebody else's.
    """
    row = await connection.fetchrow(
        "select obj_description(oid, 'pg_namespace') as mark from pg_namespace where nspname = $1",
        server.schema,
    )
    if row is None:
        return None
    if row["mark"] != _MARK:
        raise not_ready(
            server,
            f"schema {server.schema} belongs to somebody else and was left alone",
            "take another schema",
        )
    return True


def _patient(server: PostgresServer) -> PostgresServer:
    """The server as making and dropping use it, not in the middle of a run."""
    return replace(
        server,
        timeout_us=max(server.timeout_us, STATEMENT_US),
        connect_us=max(server.connect_us, CONNECT_US),
    )


async def _connect(server: PostgresServer) -> Any:
    if SCHEMA_NAME.fullmatch(server.schema) is None:
        raise not_ready(
            server,
            f"{server.schema!r} is no name for a schema",
            "take up to 50 small letters, digits and _",
        )
    try:
        return await open_session(server, plain="pulse-lab schema")
    except VendorErrors as error:
        raise not_ready(server, f"it cannot be used ({said(error)})", _remedy(error)) from None


async def _close(connection: Any, server: PostgresServer) -> None:
    try:
        await connection.close(timeout=server.connect_us / 1e6)
    except VendorErrors:
        connection.terminate()


def _check_version(server: PostgresServer, version: Any) -> None:
    if version.major < VERSION_MIN:
        raise not_ready(
            server,
            f"it is version {_shown(version)}",
            f"{VERSION_MIN} or later is needed",
        )


def _shown(version: Any) -> str:
    # The driver reads 15.3 as 15.0.3; before 10 it took three numbers to name a version.
    return f"{version.major}.{version.micro if version.major >= 10 else version.minor}"


def _unusable(server: PostgresServer, error: BaseException) -> EnvironmentNotReady:
    return not_ready(server, said(error), _remedy(error))


def _remedy(error: BaseException) -> str:
    return remedy_for(error) or how_to_start("postgres", "LAB_POSTGRES_DSN")
