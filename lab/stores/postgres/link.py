"""Connections to PostgreSQL: opened when needed, opened again after they were lost.

Each call has a deadline, and the server gets a shorter one, so that a statement whose caller has
given up does not commit much later. Not here: any statement of the store.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg

from lab.domain.errors import Down, EnvironmentNotReady, Indeterminate
from lab.stores.postgres.errors import (
    AGAIN_AFTER_US,
    DEPENDENCY,
    Stage,
    VendorErrors,
    is_of_a_pooler,
    to_lab_error,
)
from lab.stores.reachability import Reachability, Tell, tell_nobody

T = TypeVar("T")

Row = Any  # a row of the driver: read by name or position

# Arrays of a few hundred keys are looked up one by one. The planner, which knows no statistics of a
# fresh table, would read whole tables instead, and plan anew for every length of an array.
_PLANNER: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}


_ADDRESS: Final = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %-escapes in the password"
)


_NAME_MAX: Final = 63
"""Bytes of a name that the server keeps."""

_WHERE_AM_I: Final = "select current_schema() as schema, pg_backend_pid() as pid"

_NO_POOLER: Final = (
    "name the server itself: the lab needs sessions of its own (advisory locks, LISTEN, search "
    "path), at most 8 for a process"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A server, a schema on it, and how long anybody waits for it.

    Attributes:
        dsn: its address; may hold a password, so it is never shown (`where` is).
        schema: the schema of the run.
        member: the process that uses it, for the server's list of sessions.
        keeps_facts: whether what happens is written down for a verdict, too.
        timeout_us: deadline of one statement.
        connect_us: deadline of one attempt to connect.
    """

    dsn: str
    schema: str
    member: str = ""
    keeps_facts: bool = True
    timeout_us: int = 2_000_000
    connect_us: int = 2_000_000

    def __repr__(self) -> str:
        return f"PostgresServer({self.where}, schema={self.schema!r})"

    @property
    def where(self) -> str:
        """Host, port and database, without user and password; "" if the address is none."""
        return shown_address(self.dsn, ("postgresql", "postgres"), 5432)


def shown_address(url: str, schemes: Sequence[str], port: int) -> str:
    """`host:port/path` of an address; "" if it cannot be read without a doubt.

    A password that is not escaped may reach beyond the `@` that ends it; then nothing is shown.
    """
    try:
        parts = urlsplit(url)
        host, given = parts.hostname or "localhost", parts.port
    except ValueError:
        return ""
    if parts.scheme not in schemes or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return ""
    return f"{host}:{given or port}{parts.path}"


async def connect(server: PostgresServer, *, plain: str = "") -> Any:
    """A connection of its own, outside of any store.

    Args:
        server: where to.
        plain: why it is wanted for other things than the store's statements: the planner is free.

    Raises:
        Down: it cannot be had; the message says why.
        EnvironmentNotReady: the address cannot be read, or statements would go elsewhere.
    """
    try:
        return await open_session(server, plain=plain)
    except VendorErrors as error:
        raise to_lab_error(error, Stage.CONNECT, server.where) from None


async def open_session(server: PostgresServer, *, plain: str = "") -> Any:
    """See `connect`; errors are the driver's.

    Raises:
        EnvironmentNotReady: the address cannot be read, a pooler answers there, or statements would
            go into another schema.
    """
    if not server.where:
        raise not_ready(server, "its address cannot be read", _ADDRESS)
    # In a task of its own: the driver cannot be cancelled in the middle of a handshake.
    opening: asyncio.Future[Any] = asyncio.ensure_future(
        asyncpg.connect(
            server.dsn,
            timeout=server.connect_us / 1e6,
            command_timeout=server.timeout_us / 1e6,
            server_settings=_parameters(server, plain),
        )
    )
    try:
        connection = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_hang_up)
        raise
    except VendorErrors as error:
        if is_of_a_pooler(error):
            raise _behind_a_pooler(server) from None
        raise
    except ValueError:
        # Its text may quote the address, and the address may hold a password.
        raise not_ready(server, "its address cannot be read", _ADDRESS) from None
    try:
        await _look_where(connection, server)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _parameters(server: PostgresServer, plain: str) -> dict[str, str]:
    """The parameters of a session, sent with its beginning."""
    settings = {
        "search_path": server.schema,
        "application_name": plain or application(server),
        "default_transaction_isolation": "read committed",
        "client_min_messages": "warning",
    }
    if not plain:
        settings |= _PLANNER
        settings["statement_timeout"] = str(max(server.timeout_us * 9 // 10_000, 1))
        if not server.keeps_facts:
            settings["lab.facts"] = "off"
    return settings


def application(server: PostgresServer) -> str:
    """The name of the store's sessions in the server's list: of its schema, then of the process."""
    return f"pulse-lab {server.schema} {server.member}".rstrip()[:_NAME_MAX]


async def _look_where(connection: Any, server: PostgresServer) -> None:
    """Refuse a session that is not the server's own, or that has not taken our parameters."""
    try:
        found = await connection.fetchrow(_WHERE_AM_I)
    except VendorErrors as error:
        if is_of_a_pooler(error):
            raise _behind_a_pooler(server) from None
        raise
    if found["pid"] != connection.get_server_pid():
        raise _behind_a_pooler(server)
    if found["schema"] not in {None, server.schema}:
        raise not_ready(
            server,
            f"statements would go into schema {found['schema']}, not {server.schema}",
            "let nothing between the lab and the server change the search path",
        )


def _behind_a_pooler(server: PostgresServer) -> EnvironmentNotReady:
    return not_ready(server, "a pooler such as PgBouncer answers there", _NO_POOLER)


def not_ready(server: PostgresServer, what: str, remedy: str) -> EnvironmentNotReady:
    """The error of a server that cannot be used at all."""
    address = server.where or "?"
    return EnvironmentNotReady(what, server="PostgreSQL", address=address, remedy=remedy)


def _hang_up(opening: "asyncio.Future[Any]") -> None:
    """Nobody wants the connection any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().terminate()


class Link:
    """One connection, for one caller at a time.

    Args:
        server: where to.
        on_open: called with each new connection before anybody uses it.
    """

    def __init__(
        self,
        server: PostgresServer,
        *,
        on_open: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        self._server = server
        self._on_open = on_open
        self._connection: Any = None
        self._is_dead = False
        self.opened = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None and not self._connection.is_closed()

    async def read(self, sql: str, *args: object) -> list[Row]:
        """Rows of a statement that changes nothing.

        Raises:
            Transient, Permanent, Unclassified: the server refused it.
            Down: it was not answered.
        """
        return await self._call(Stage.READ, sql, args)

    async def change(self, sql: str, *args: object) -> list[Row]:
        """Rows of a statement that is a transaction; durable on return.

        Raises:
            Transient, Permanent, Unclassified: the server rolled it back.
            Down: it was not handed over.
            Indeterminate: the answer was lost.
        """
        return await self._call(Stage.CHANGE, sql, args)

    async def open(self) -> None:
        """Connect, unless a connection is there already."""
        if self.is_open:
            return
        if self._is_dead:
            raise Down("the store is closed", dependency=DEPENDENCY, after_us=AGAIN_AFTER_US)
        try:
            self._connection = connection = await connect(self._server)
        except EnvironmentNotReady as bad:
            # It was fit for use when the process began, and may be again.
            raise Down(str(bad), dependency=DEPENDENCY, after_us=AGAIN_AFTER_US) from None
        self.opened += 1
        if self._on_open is not None:
            try:
                await self._on_open(connection)
            except VendorErrors as error:
                self.drop()
                raise to_lab_error(error, Stage.CONNECT, self._server.where) from None

    def drop(self) -> None:
        """Close the connection at once, with any call that runs on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def abort(self) -> None:
        """Close it for ever, as the operating system does for a killed process."""
        self._is_dead = True
        self.drop()

    async def close(self) -> None:
        """Take leave of the server; bounded."""
        self._is_dead = True
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=self._server.connect_us / 1e6)
            except VendorErrors:
                connection.terminate()

    async def _call(self, stage: Stage, sql: str, args: tuple[object, ...]) -> list[Row]:
        await self.open()
        connection = self._connection
        try:
            rows: list[Row] = await connection.fetch(
                sql, *args, timeout=self._server.timeout_us / 1e6
            )
        except VendorErrors as error:
            if getattr(error, "sqlstate", None) is None or connection.is_closed():
                self.drop()
            raise to_lab_error(error, stage, self._server.where) from None
        except asyncio.CancelledError:
            # The driver would have the next caller wait until the server has heard of it.
            self.drop()
            raise
        else:
            return rows


class Links:
    """A few links that many callers share, first come, first served.

    Args:
        server: where to.
        size: how many.
        tell: hears when the server is of no use, and when it is again.
    """

    def __init__(self, server: PostgresServer, size: int, tell: Tell = tell_nobody) -> None:
        self._server = server
        self._name = f"PostgreSQL at {server.where}"
        self._reached = Reachability(self._name, tell)
        self._free = [Link(server) for _ in range(size)]
        self._all = tuple(self._free)
        self._queue: deque[asyncio.Future[Link]] = deque()

    async def read(self, sql: str, *args: object) -> list[Row]:
        """See `Link.read`."""
        return await self._with(lambda link: link.read(sql, *args))

    async def change(self, sql: str, *args: object) -> list[Row]:
        """See `Link.change`."""
        return await self._with(lambda link: link.change(sql, *args))

    def abort(self) -> None:
        """See `Link.abort`."""
        for link in self._all:
            link.abort()

    async def close(self) -> None:
        """See `Link.close`."""
        for link in self._all:
            await link.close()

    async def _with(self, use: Callable[[Link], Awaitable[T]]) -> T:
        link = self._free.pop() if self._free else await self._wait()
        try:
            found = await use(link)
        except (Down, Indeterminate) as error:
            self._reached.refused(str(error).removeprefix(f"{self._name}: "))
            raise
        finally:
            self._give(link)
        self._reached.answered()
        return found

    async def _wait(self) -> Link:
        """The next link that is given back; not for ever.

        Raises:
            Down: the pool is exhausted.
        """
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Link] = loop.create_future()
        wait_us = self._server.timeout_us + self._server.connect_us
        timer = loop.call_later(wait_us / 1e6, self._give_up, place)
        self._queue.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give(place.result())
            raise
        finally:
            timer.cancel()

    def _give_up(self, place: "asyncio.Future[Link]") -> None:
        if not place.done():
            place.set_exception(
                Down(
                    f"all {len(self._all)} connections to PostgreSQL at {self._server.where} "
                    "are busy",
                    dependency=DEPENDENCY,
                    after_us=AGAIN_AFTER_US,
                )
            )

    def _give(self, link: Link) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(link)
                return
        self._free.append(link)
