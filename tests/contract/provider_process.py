"""The third parties in a process of their own, to be killed and stopped by tests.

Prints its port when it is ready; ends with its standard input.
"""

import asyncio
import sys
from pathlib import Path

from lab.providers.http_front import make_front
from lab.providers.ledger_file import ledger_file
from lab.runtime.clock import SystemClock
from lab.runtime.http_server import http_server
from tests.contract.provider_worlds import make_third_parties


async def main(path: Path, port: int, latency_us: int) -> None:
    clock = SystemClock()
    with ledger_file(path, clock=clock) as ledger:
        servers = make_third_parties(now_us=clock.now_us, write=ledger.write, latency_us=latency_us)
        app = make_front(servers, ledger=ledger, clock=clock)
        async with http_server(app, port=port) as server:
            sys.stdout.write(f"{server.port}\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
