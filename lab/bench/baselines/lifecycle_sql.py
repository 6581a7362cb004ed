"""The life of an order as plain statements, each with a commit of its own: by pgbench, or asyncpg.

Each unit of work of the lab is one statement here, on the same tables, written as for a client that
sends one at a time. The relay's look for its work is left out, and so is the revenue, for whose one
row all clients would queue. pgbench is looked for where `scripts/servers` looks for `initdb`.
"""

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg

CLIENTS: Final = 16

_DEBIAN: Final = Path("/usr/lib/postgresql")
_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_SPARE_S: Final = 60

_CREATE: Final = """
with o as (
    insert into orders (id, lab_subject, state, version, customer_id, currency, amount_cents,
        items, created_us, expires_us, due_us, traceparent)
    values ('o' || :k::text, '1.1', 'PENDING', 1, 'C-1', 'GBP', 2999, '[]', now_us(),
        now_us() + 86400000000, now_us() + 86400000000, repeat('0', 55))
), v as (
    insert into order_versions (order_id, version, state, event_id, event_type)
    values ('o' || :k::text, 1, 'PENDING', '1-' || :k::text, 'OrderCreated')
), h as (
    insert into http_keys (key, body_sha256, status, answer)
    values ('h' || :k::text, repeat('0', 64), 201, repeat('0', 64)::bytea)
), f as (
    insert into facts (kind, subject, fields)
    values ('http_key', '1.1', jsonb_build_array('h' || :k::text, repeat('0', 64), 201))
) {event} select {values} {owed}
"""
_LOOK: Final = """
select is_dead, redrives from outcomes where event_id = '{cause}-' || :k::text
    and group_name = '{group}'
"""
_LOAD: Final = """
select o.*, now_us(), i.* from orders o left join intents i on i.order_id = o.id
    where o.id = 'o' || :k::text
"""
_BLOCKED: Final = "select customer_id from blocked_customers where customer_id = 'C-1'"
_OPEN: Final = """
with i as (
    insert into intents (order_id, kind, n, key, amount_cents, currency, send_until_us, is_open)
    select o.id, 'charge', 1, 'charge-' || o.id || '-1', 2999, 'GBP', now_us() + 2000000, true
    from orders o where o.id = 'o' || :k::text and o.state = 'VALIDATED'
    returning order_id
) insert into facts (kind, subject, fields)
    select 'intent', '1.1', jsonb_build_array('open', 'charge', 1, order_id, 2999, 'VALIDATED')
    from i
"""
_CLOSE: Final = """
, i as (
    update intents set is_open = false where order_id = 'o' || :k::text and kind = 'charge'
        and n = 1 and is_open and exists (select from u)
    returning order_id
), g as (
    insert into facts (kind, subject, fields)
    select 'intent', '1.1', jsonb_build_array('close', 'charge', 1, order_id, 2999, 'VALIDATED')
    from i
)
"""
_DONE: Final = """
with d as (
    insert into outcomes (event_id, group_name, is_dead, redrives)
    values ('{cause}-' || :k::text, '{group}', false, 0) on conflict do nothing returning event_id
)
"""
_TOLD: Final = """
insert into facts (kind, subject, fields)
    select 'outcome', '1.1', jsonb_build_array('{group}', event_id, 'done', 0) from d
"""
_MOVE: Final = """
, u as (
    update orders set state = '{to}', version = version + 1, due_us = {due}
    where id = 'o' || :k::text and version = {version} and exists (select from d) returning id
), f as ({told}), v as (
    insert into order_versions (order_id, version, state, event_id, event_type)
    select id, {version} + 1, '{to}', '{event_id}-' || :k::text, '{type}' from u
){close} {event} select {values} from u {owed}
"""
_EVENT: Final = """
insert into outbox (shard, id, type, source, order_id, sequence, time_us, data, correlation_id,
    causation_id, traceparent, lab_subject)
"""
_VALUES: Final = """
0, '{number}-' || :k::text, '{type}', '/lab/{by}', 'o' || :k::text, {number}, 1700000000000000,
    decode(repeat('61', {size}), 'hex'), 'o' || :k::text, '{cause}-' || :k::text,
    repeat('0', 55), '1.1'
"""
_OWED: Final = "returning number as n"
_MARK: Final = "update outbox set published_us = now_us() where number = :n::bigint"


class Statement(NamedTuple):
    """A statement, which is a transaction; `:k` is the order's key, `:n` an outbox number.

    Attributes:
        gives_number: it returns the `:n` of the statement behind it.
    """

    sql: str
    gives_number: bool = False


class RawLifecycle(NamedTuple):
    """The rate of a baseline, and the program that measured it."""

    rate: float
    by: str


def statements(event_bytes: int) -> list[Statement]:
    """The statements for one order that is confirmed, in order.

    Args:
        event_bytes: of an event's payload.
    """
    return [
        *_owed(_CREATE, {}, 1, "OrderCreated", "api", event_bytes),
        *_looks("validation", 1),
        Statement(_flat(_LOAD)),
        Statement(_BLOCKED),
        *_moves("validation", 1, "VALIDATED", "OrderValidated", event_bytes, due="due_us"),
        *_looks("payment", 2),
        Statement(_flat(_LOAD)),
        Statement(_flat(_OPEN)),
        *_moves("payment", 2, "PAID", "PaymentCaptured", event_bytes, close=_CLOSE),
        *_looks("orders", 3),
        *_moves("orders", 3, "CONFIRMED", "OrderConfirmed", event_bytes),
        *_notes("notification", 1),
        *_notes("notification", 4),
    ]


def _looks(group: str, cause: int) -> list[Statement]:
    return [Statement(_flat(_LOOK.format(group=group, cause=cause)))]


def _notes(group: str, cause: int) -> list[Statement]:
    """An event that changes no order."""
    done = (_DONE + _TOLD).format(group=group, cause=cause)
    return [*_looks(group, cause), Statement(_flat(done))]


def _moves(
    group: str,
    version: int,
    to: str,
    event_type: str,
    event_bytes: int,
    *,
    due: str = "null",
    close: str = "",
) -> list[Statement]:
    """An event that is settled by the next one."""
    parts = {
        "group": group,
        "version": version,
        "cause": version,
        "event_id": version + 1,
        "to": to,
        "due": due,
        "close": close,
        "told": _TOLD.format(group=group),
    }
    return _owed(_DONE + _MOVE, parts, version + 1, event_type, group, event_bytes)


def _owed(
    sql: str, parts: dict[str, object], number: int, event_type: str, by: str, event_bytes: int
) -> list[Statement]:
    """A statement that leaves an event in the outbox, and the mark that it was published."""
    values = _VALUES.format(
        number=number, type=event_type, by=by, size=event_bytes, cause=number - 1
    )
    sql = sql.format(**parts, type=event_type, event=_EVENT, values=values, owed=_OWED)
    return [Statement(_flat(sql), gives_number=True), Statement(_MARK)]


def _flat(sql: str) -> str:
    return " ".join(sql.split())


def orders_a_second(dsn: str, schema: str, *, event_bytes: int, seconds: int) -> RawLifecycle:
    """Orders a second that live through all statements, by as many clients as do best.

    Args:
        dsn: the server; a password in it reaches no command line.
        schema: a schema with the lab's tables, and nothing in them.
        event_bytes: of an event's payload.
        seconds: how long.

    Raises:
        subprocess.CalledProcessError: pgbench failed; its output is attached.
        asyncpg.PostgresError: a statement failed.
    """
    pgbench = find_pgbench()
    todo = statements(event_bytes)
    if pgbench is None:
        done = asyncio.run(_by_asyncpg(dsn, schema, todo, seconds))
        return RawLifecycle(done / seconds, f"asyncpg (no pgbench here), {CLIENTS} connections")
    return RawLifecycle(
        _by_pgbench(pgbench, dsn, schema, todo, seconds), f"pgbench, {CLIENTS} prepared clients"
    )


def find_pgbench() -> Path | None:
    """The newest one that is installed."""
    packaged = [
        place / "bin" / "pgbench"
        for place in (_DEBIAN.iterdir() if _DEBIAN.is_dir() else ())
        if place.name.isdigit()
    ]
    for pgbench in sorted(packaged, key=lambda path: int(path.parts[-3]), reverse=True):
        if pgbench.is_file():
            return pgbench
    beside = shutil.which("initdb")
    pgbench = Path(beside).resolve().with_name("pgbench") if beside else Path("pgbench")
    found = str(pgbench) if pgbench.is_file() else shutil.which("pgbench")
    return None if found is None else Path(found)


def script(todo: Sequence[Statement]) -> str:
    """The statements as a script of pgbench; each run of it is another order."""
    lines = ["\\set k random(1, 1000000000000000)"]
    lines += [each.sql + (" \\gset" if each.gives_number else ";") for each in todo]
    return "\n".join(lines) + "\n"


def _by_pgbench(
    pgbench: Path, dsn: str, schema: str, todo: Sequence[Statement], seconds: int
) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script(todo))
        file.flush()
        command = [str(pgbench), "-n", "-M", "prepared", "-j", "1", "-c", str(CLIENTS)]
        done = subprocess.run(  # noqa: S603 - found beside the server's own programs
            [*command, "-T", str(seconds), "-f", file.name],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + _SPARE_S,
            # Nobody else on the machine may read it, unlike a command line.
            env={"PGDATABASE": dsn, "PGOPTIONS": f"-c search_path={schema}"},
        )
    found = _TPS.search(done.stdout)
    if found is None:
        raise subprocess.CalledProcessError(1, command, done.stdout, done.stderr)
    return float(found[1])


async def _by_asyncpg(dsn: str, schema: str, todo: Sequence[Statement], seconds: int) -> int:
    """How many orders were done by then."""
    texts = [each._replace(sql=re.sub(r":[kn]\b", "$1", each.sql)) for each in todo]
    end_s = time.perf_counter() + seconds
    settings = {"search_path": schema}

    async def run(client: int) -> int:
        connection: Any = await asyncpg.connect(dsn, server_settings=settings)
        done = 0
        try:
            while time.perf_counter() < end_s:
                await _one_order(connection, texts, f"{client}-{done}")
                done += 1
        finally:
            await connection.close()
        return done

    return sum(await asyncio.gather(*(run(client) for client in range(CLIENTS))))


async def _one_order(connection: Any, todo: Sequence[Statement], key: str) -> None:
    number: int | None = None
    for sql, gives_number in todo:
        arguments: tuple[object, ...] = (key,) if number is None else (number,)
        number = None
        if "$1" not in sql:
            await connection.fetch(sql)
        elif gives_number:
            number = await connection.fetchval(sql, *arguments)
        else:
            await connection.fetch(sql, *arguments)
