"""Whose mistake an exception is, and what a supervisor makes of a process that ended by itself."""

import asyncio
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.bus.loop.workers import CHAIN, SUBJECT, SUBSCRIPTION
from lab.domain.errors import EnvironmentNotReady
from lab.faults.plan.plan import FaultPlan
from lab.history.entries import Entry
from lab.history.pen import Pen
from lab.patterns.retry import RetryBudget
from lab.runtime.chance import KeyedChance
from lab.runtime.errors import SimulationError
from lab.runtime.process_loop import SPAWNED
from lab.wiring.process.unexpected import ends_by, is_own_mistake, note_unexpected
from lab.wiring.worlds import real_start
from lab.wiring.worlds.assignment import Assignment
from lab.wiring.worlds.real_member import RealMember
from lab.wiring.worlds.run_lock import HeldLock, holding, new_run_lock


def met(call: Callable[..., object]) -> Exception:
    try:
        call(*[None] * 9)
    except Exception as error:  # noqa: BLE001 - that is what is asked for
        return error
    raise AssertionError("it raised nothing")


def a_service_divides(*_: object) -> object:
    return 1 // 0


OF_THE_SYSTEM = (
    met(a_service_divides),
    met(lambda *_: RetryBudget(1, 1).take([])),  # type: ignore[arg-type]  # the mistake
)
OF_THE_LAB = (
    SimulationError("planted"),
    EnvironmentNotReady("x", server="x", address="", remedy="x"),
    KeyboardInterrupt(),
    met(lambda *_: FaultPlan(seed=1, chance=KeyedChance(1), now_us=int, explicit=[None])),  # type: ignore[list-item]  # the mistake
)


def test_an_exception_belongs_to_the_room_that_raised_it() -> None:
    assert [is_own_mistake(error) for error in OF_THE_SYSTEM] == [False, False]
    assert [is_own_mistake(error) for error in OF_THE_LAB] == [True] * 4


@pytest.mark.parametrize(
    ("context", "where", "subject", "ends"),
    [
        ({SUBSCRIPTION: "payment"}, "subscription", "", True),
        ({CHAIN: "payment", SUBJECT: "7.1"}, "delivery", "7.1", False),
        ({SPAWNED: "relay"}, "relay", "", True),
        ({SPAWNED: "timer"}, "timer", "", True),
        ({SPAWNED: "program"}, "program", "", True),
        ({SPAWNED: "request", SUBJECT: "7.1"}, "request", "7.1", False),
        ({}, "task", "", False),
    ],
)
def test_an_error_of_the_system_is_written_down_by_its_place_and_class(
    context: dict[str, object], where: str, subject: str, ends: object
) -> None:
    entries: list[Entry] = []
    pen = Pen(process="payment-1", now=lambda: 5, write=entries.append)

    assert note_unexpected(pen, {**context, "exception": OF_THE_SYSTEM[0]})

    assert entries == [("failed", 5, "payment-1", subject, where, "ZeroDivisionError")]
    assert ends_by(context) is ends
    assert not note_unexpected(pen, {**context, "exception": OF_THE_LAB[0]})
    assert not note_unexpected(pen, {**context, "message": "no exception"})
    assert len(entries) == 1


SCRIPT = """#!{python}
import json, sys
assignment = json.load(open(sys.argv[-1]))
entry = {entry}
if entry:
    open(assignment["journal"], "w").write(json.dumps(entry) + "\\n")
print(json.dumps({{"ready": "x", "url": ""}}), flush=True)
sys.exit({code} if assignment["life"] == 1 else 0)
"""


@pytest.mark.parametrize(
    ("code", "where", "is_the_labs"),
    [(0, "", ""), (1, "relay", ""), (1, "request", "1"), (1, "", "1")],
    ids=["left with 0", "its own error", "an error that ends nobody", "no word about it"],
)
def test_a_process_that_ends_by_itself_is_started_again_unless_the_lab_is_to_blame(
    code: int, where: str, is_the_labs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ["failed", 1, "relay-1", "", where, "KeyError"] if where else None
    python = tmp_path / "python"
    python.write_text(SCRIPT.format(python=sys.executable, entry=entry, code=code))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(real_start, "sys", SimpleNamespace(executable=str(python)))
    lives: list[tuple[str, str]] = []

    async def main(held: HeldLock) -> RealMember:
        started_again = asyncio.Event()

        def note_life(life: str, event: str) -> None:
            lives.append((life, event))
            if life == "relay-1#2":
                started_again.set()

        member = RealMember(
            Assignment(
                role="relay",
                member="relay-1",
                group="relay",
                name="lab_x",
                postgres_dsn="",
                redis_url="",
                kafka_bootstrap="",
                journal="yes",
            ),
            folder=held.folder,
            start=real_start.spawning(held),
            note_life=note_life,
            restart_us=1,
            steps_of=lambda _member, _group: (),
            on_error=lambda: None,
        )
        # It may have ended before it is looked at: a first life that ended is no start.
        await member._begin()
        member._watching = asyncio.get_running_loop().create_task(member._watch())
        again = asyncio.get_running_loop().create_task(started_again.wait())
        await asyncio.wait([member._watching, again], return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        await member.end(0)
        return member

    with holding(new_run_lock(), []) as held:
        member = asyncio.run(main(held))

    begun = [("relay-1", "start")]
    if is_the_labs:
        assert (type(member.error), lives) == (SimulationError, begun)
    else:
        assert member.error is None
        assert lives[:3] == [*begun, ("relay-1", "exited"), ("relay-1#2", "start")]
