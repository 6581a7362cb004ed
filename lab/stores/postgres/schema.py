"""The schema of the order store: made, brought up to date and dropped; only ever one of ours.

A schema of ours carries a mark. One without it belongs to somebody else and is neither used nor
dropped. Migrations are the numbered files of `sql/`, each applied once and never changed.
Not here: the files, and any statement of the store.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

from lab.domain.errors import EnvironmentNotReady, LabError
from lab.resources import how_to_start
from lab.stores.postgres.errors import VendorErrors, said
from lab.stores.postgres.link import PostgresServer, connect, not_ready

VERSION_MIN: Final = 14
SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,49}")
_MARK: Final = "order store of pulse-lab"

STATEMENT_US: Final = 30_000_000
"""Least deadline of a statement that makes or drops: one after the other of several processes makes
the same schema, and a disk that is busy may take seconds for each."""
CONNECT_US: Final = 10_000_000
"""Least deadline of a connection for that: nobody has other work to do before."""

_MIGRATIONS_TABLE: Final = (
    "create table if not exists migrations (number integer primary key, name text not null, "
    "sha256 text not null, applied_at timestamptz not null default now())"
)


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


async def prepare(server: PostgresServer, *, shards: int) -> None:
    """Make the schema, or bring ours up to date. Several processes may do so at the same time.

    Args:
        server: where.
        shards: shards of the outbox; fixed for the life of the schema.

    Raises:
        EnvironmentNotReady: it cannot be reached or is too old; the schema is somebody else's, was
            made by a newer lab or with other shards.
    """
    connection = await _connect(_patient(server))
    try:
        _check_version(server, connection.get_server_version())
        async with connection.transaction():
            await connection.execute(
                "select pg_advisory_xact_lock(hashtext('pulse-lab'), hashtext($1))", server.schema
            )
            if await _is_ours(connection, server) is None:
                await connection.execute(f'create schema "{server.schema}"')
                await connection.execute(f"comment on schema \"{server.schema}\" is '{_MARK}'")
            await _migrate(connection, server)
            await _agree(connection, server, {"outbox.shards": str(shards)})
    except VendorErrors as error:
        raise _unusable(server, error) from None
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


def migrations() -> list[tuple[int, str, str]]:
    """Number, name and text of each migration, in order."""
    folder = files("lab.stores.postgres").joinpath("sql")
    found = [entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        (int(name.split("_", 1)[0]), name, folder.joinpath(name).read_text(encoding="utf-8"))
        for name in sorted(found)
    ]


async def _migrate(connection: Any, server: PostgresServer) -> None:
    await connection.execute(_MIGRATIONS_TABLE)
    rows = await connection.fetch("select number, name, sha256 from migrations")
    applied = {row["number"]: (row["name"], row["sha256"]) for row in rows}
    known = migrations()
    newer = sorted(set(applied) - {number for number, _, _ in known})
    if newer:
        raise not_ready(
            server,
            f"schema {server.schema} was made by a newer lab (migration {newer[-1]})",
            "update this one, or take another schema",
        )
    for number, name, text in known:
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        if number not in applied:
            await connection.execute(text)
            await connection.execute(
                "insert into migrations (number, name, sha256) values ($1, $2, $3)",
                number,
                name,
                sha256,
            )
        elif applied[number][1] != sha256:
            raise not_ready(
                server,
                f"schema {server.schema} was made with another {name}",
                "take another schema, or the lab that made this one",
            )


async def _agree(connection: Any, server: PostgresServer, wanted: Mapping[str, str]) -> None:
    """Write down the making of the schema, or compare it."""
    for name, value in wanted.items():
        known = await connection.fetchval(
            "insert into made_with as m (name, value) values ($1, $2) "
            "on conflict (name) do update set value = m.value returning value",
            name,
            value,
        )
        if known != value:
            raise not_ready(
                server,
                f"schema {server.schema} was made with {name} = {known}, not {value}",
                f"--set {name}={known}, or take another schema",
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
        return await connect(server, plain="pulse-lab schema")
    except LabError as error:
        what = f"it cannot be used ({str(error).partition(': ')[2]})"
        raise not_ready(server, what, _remedy()) from None


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
    return not_ready(server, said(error), _remedy())


def _remedy() -> str:
    return how_to_start("postgres", "LAB_POSTGRES_DSN")
