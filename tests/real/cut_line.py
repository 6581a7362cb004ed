"""A line to a server that can be cut at the worst moment: after the request, before the answer."""

import asyncio
from urllib.parse import urlsplit


class CutLine:
    """A proxy on loopback.

    Attributes:
        is_mute: requests pass, answers do not: the line is cut when the next answer comes.
        cuts: lines that were cut so.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.is_mute = False
        self.cuts = 0

    @classmethod
    def to(cls, url: str) -> "CutLine":
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    def through(self, url: str) -> str:
        """The same address by way of this line."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return url.replace(f"{self._host}:{self._port}", f"127.0.0.1:{port}")

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        self._writers += (writer, up_writer)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._requests(reader, up_writer)))
        self._tasks.append(loop.create_task(self._answers(up_reader, writer, up_writer)))

    async def _requests(self, reader: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                up.write(data)
        except OSError:
            pass
        up.transport.abort()

    async def _answers(
        self, up: asyncio.StreamReader, writer: asyncio.StreamWriter, request: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await up.read(65_536):
                if self.is_mute:
                    self.cuts += 1
                    break
                writer.write(data)
        except OSError:
            pass
        writer.transport.abort()
        request.transport.abort()
