"""Outages of real servers: one after the other, and none outlasts the run."""

import asyncio
from pathlib import Path

import pytest

from lab.domain.errors import EnvironmentNotReady
from lab.runtime.errors import SimulationError
from lab.wiring.worlds.outages import Outages, check_can_strike, servers_of


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


def test_a_broker_that_was_ended_begins_again_before_the_next_one_ends_and_at_the_end(
    tmp_path: Path,
) -> None:
    script, done = write_script(tmp_path)

    async def main() -> None:
        outages = Outages(script)
        await asyncio.gather(
            outages.strike("kill", "kafka-1"),
            outages.strike("start", "kafka-1"),
            outages.strike("stop", "kafka-2"),
            outages.strike("kill", "kafka-3"),
        )
        await outages.end()

    asyncio.run(main())
    told = ["kill kafka-1", "start kafka-1", "stop kafka-2", "kill kafka-3"]
    # Together: one of three alone would wait for another one.
    told += ["start kafka-2 kafka-3"]
    assert done.read_text().splitlines() == told


def test_an_outage_of_three_brokers_is_of_all_and_a_move_needs_three(tmp_path: Path) -> None:
    script = tmp_path / "servers"
    script.write_text(
        '[[ $* == "env --brokers 3" ]] && echo export LAB_KAFKA_BOOTSTRAP=here:1,here:2,here:3\n'
        "[[ $* != env ]] || echo export LAB_KAFKA_BOOTSTRAP=here:9\n"
    )
    three = "here:1,here:2,here:3"

    asyncio.run(check_can_strike(str(script), {"kafka": three}, needs_brokers=True))
    asyncio.run(check_can_strike(str(script), {"kafka": "here:9"}))
    assert servers_of("kafka", three) == ("kafka-1", "kafka-2", "kafka-3")
    assert servers_of("kafka", "here:9") == ("kafka",)
    with pytest.raises(EnvironmentNotReady, match="there is one") as told:
        asyncio.run(check_can_strike(str(script), {"kafka": "here:9"}, needs_brokers=True))
    assert "up --brokers 3" in told.value.remedy


def test_a_server_that_cannot_be_stopped_is_told(tmp_path: Path) -> None:
    script, _ = write_script(tmp_path)

    with pytest.raises(SimulationError, match="pause nothing"):
        asyncio.run(Outages(script).strike("pause", "nothing"))


def test_only_the_servers_of_the_run_are_stopped(tmp_path: Path) -> None:
    script = tmp_path / "servers"
    script.write_text(
        "echo export LAB_KAFKA_BOOTSTRAP=here:1\necho export LAB_REDIS_URL=redis://here:2/0\n"
    )

    asyncio.run(check_can_strike(str(script), {"kafka": "here:1"}))
    with pytest.raises(EnvironmentNotReady, match="not the one that LAB_REDIS_URL names"):
        asyncio.run(
            check_can_strike(str(script), {"kafka": "here:1", "redis": "redis://there:2/0"})
        )


@pytest.mark.parametrize(("name", "text"), [("nothing", ""), ("servers", "exit 3\n")])
def test_a_script_that_does_not_know_its_servers_stops_none(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "servers").write_text(text)

    with pytest.raises(EnvironmentNotReady, match="does not say which servers") as told:
        asyncio.run(check_can_strike(str(tmp_path / name), {"kafka": "here:1"}))
    assert "scripts/servers up" in told.value.remedy
