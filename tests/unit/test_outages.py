"""Outages of real servers: one after the other, and none outlasts the run."""

import asyncio
from pathlib import Path

import pytest

from lab.runtime.errors import SimulationError
from lab.wiring.outages import Outages


def write_script(folder: Path) -> tuple[str, Path]:
    """A script that takes its time to pause, and notes what it has done."""
    script, done = folder / "servers", folder / "done"
    script.write_text(
        f'[[ $1 != pause ]] || sleep 0.1\n[[ $2 != no* ]] || exit 1\necho "$*" >>{done}\n'
    )
    return str(script), done


def test_a_server_goes_on_only_after_it_was_stopped(tmp_path: Path) -> None:
    script, done = write_script(tmp_path)

    async def main() -> None:
        outages = Outages(script)
        await asyncio.gather(outages.strike("pause", "kafka"), outages.strike("resume", "kafka"))
        await outages.end()

    asyncio.run(main())
    assert done.read_text().splitlines() == ["pause kafka", "resume kafka"]


def test_what_is_stopped_at_the_end_of_a_run_goes_on_once(tmp_path: Path) -> None:
    script, done = write_script(tmp_path)

    async def main() -> None:
        outages = Outages(script)
        await outages.strike("pause", "redis")
        await outages.strike("pause", "kafka")
        await outages.strike("resume", "redis")
        await outages.end()
        await outages.end()

    asyncio.run(main())
    told = ["pause redis", "pause kafka", "resume redis", "resume kafka"]
    assert done.read_text().splitlines() == told


def test_a_server_that_cannot_be_stopped_is_told(tmp_path: Path) -> None:
    script, _ = write_script(tmp_path)

    with pytest.raises(SimulationError, match="pause nothing"):
        asyncio.run(Outages(script).strike("pause", "nothing"))
