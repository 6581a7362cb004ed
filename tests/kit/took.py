"""How long something took, judged as far as time can be trusted."""

import asyncio

from lab.runtime.process_loop import ProcessLoop


def assert_took(took_us: int, *, most_us: int, least_us: int = 0) -> None:
    """It took at least and at most so long.

    Virtual time is exact. A real machine may stand still for seconds: there only what came too
    early is a mistake, and what never comes meets the time limit of the test.
    """
    assert took_us >= least_us
    if isinstance(asyncio.get_running_loop(), ProcessLoop):
        assert took_us <= most_us
