"""How a simulated process ends, seen from inside and from outside.

Not here: why it ends (`lab/faults/processes/`).
"""

import asyncio
from typing import NoReturn

from lab.runtime.process_loop import ProcessLoop
from lab.runtime.processes import SimProcess


async def crash_here() -> NoReturn:
    """Kill the running process at this very await, which never returns."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop), "only a simulated process can crash"
    loop.kill()
    await loop.create_future()
    raise AssertionError("a dead process went on")


async def wait_exit(process: SimProcess) -> None:
    """Wait, in any process, until the incarnation that runs now has ended or was killed."""
    loop = process.loop
    if loop is not None:
        exited = asyncio.get_running_loop().create_future()
        loop.on_kill.append(lambda: None if exited.done() else exited.set_result(None))
        await exited
