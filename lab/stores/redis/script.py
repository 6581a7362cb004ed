"""A script of the server, called over a connection that is kept for it.

A client of the library looks for a connection, packs each argument in Python and counts what it
does, for every call; of a call for many events that was most of the work. Not here: the scripts
(`lua/`), and what is asked of them (`dedupe`).
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from redis.connection import HiredisRespSerializer
from redis.exceptions import NoScriptError

_TAKEN_AT_ONCE: Final = 32_768
"""Bytes; half of what a transport of asyncio, empty as this one is, takes before anybody waits."""


class Script:
    """A script that the server knows by its digest, and is sent again when it does not.

    One call at a time: the next one begins when the last one has its answer, or has failed. A call
    that fails or is cancelled gives its connection up, so that nobody reads the answer of another.

    Args:
        client: of the library; it closes the connection too.
        name: of the file in `lua/`.
    """

    def __init__(self, client: Any, name: str) -> None:
        text = files("lab.stores.redis").joinpath("lua", name).read_text(encoding="utf-8")
        self._pool: Any = client.connection_pool
        self._text = text.encode()
        self._sha1: bytes = client.register_script(text).sha.encode()
        self._packer: Any = HiredisRespSerializer()
        self._connection: Any = None

    async def run(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> list[int]:
        """The answer of the server. Raises `RedisError`, or `OSError`."""
        try:
            return await self._call(b"EVALSHA", self._sha1, keys, arguments)
        except NoScriptError:
            return await self._call(b"EVAL", self._text, keys, arguments)

    async def _call(
        self, command: bytes, script: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> list[int]:
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.get_connection()
        else:
            # Is it still of use? The library looks, as before each of its own calls.
            await self._pool.ensure_connection(connection)
        packed = self._packer.pack(command, script, b"%d" % len(keys), *keys, *arguments)
        await _send(connection, packed)
        said: list[int] = await connection.read_response()
        return said


async def _send(connection: Any, packed: Sequence[bytes]) -> None:
    """Give a call to the transport, within the deadline of the connection.

    The transport takes a small one whole, however the server is: nobody waits, so no deadline is
    needed, for which the library would make a task that costs more than the rest.
    """
    if sum(map(len, packed)) > _TAKEN_AT_ONCE:
        await connection.send_packed_command(packed)
        return
    patience_s, connection.socket_timeout = connection.socket_timeout, None
    try:
        await connection.send_packed_command(packed)
    finally:
        connection.socket_timeout = patience_s
