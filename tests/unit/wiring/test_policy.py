"""The table of the switches: complete, in the order of the real chain, thrown in one place."""

import re
import traceback
from pathlib import Path

import pytest

from lab import patterns, run
from lab.bus.loop.ends import Invoke
from lab.faults.plan.plan import FaultPlan
from lab.patterns.fencing import accept_any, accept_present
from lab.ports.bus import Delivery, Settlement
from lab.runtime.chance import KeyedChance
from lab.settings import SIMULATED, settings_for
from lab.wiring.policy import Place, Policy, Switch, Switches

LAB = Path(patterns.__file__).parents[1]
TABLE = tuple(row for row in vars(Switches).values() if isinstance(row, Switch))
NAMES = [row.name for row in TABLE]


def make_policy(*off: str) -> Policy:
    chance = KeyedChance(1)
    return Policy(
        settings=settings_for(SIMULATED),
        off=off,
        chance=KeyedChance(1),
        plan=FaultPlan(seed=1, chance=chance, now_us=int),
    )


def test_the_table_has_a_row_for_each_file_of_a_pattern_and_for_each_switch() -> None:
    files = {path.stem for path in (LAB / "patterns").glob("*.py")} - {"__init__"}

    assert len(NAMES) == len(files)
    assert set(NAMES) == files
    assert list(patterns.NAMES) == NAMES, "users read them in the order of the table"


def test_a_row_is_found_under_its_own_name() -> None:
    assert [getattr(Switches, name) for name in NAMES] == list(TABLE)


def test_the_table_goes_from_the_outside_in() -> None:
    places = list(Place)

    assert [row.place for row in TABLE] == sorted((row.place for row in TABLE), key=places.index)
    assert {row.place for row in TABLE} == set(places)


@pytest.mark.parametrize("name", NAMES)
def test_off_puts_the_weak_part_of_one_row_in_the_place_of_the_strong_one(name: str) -> None:
    policy = make_policy(name)

    for row in TABLE:
        assert policy.part(row) is (row.weak if row.name == name else row.strong)


def test_servers_and_the_delivery_loop_fence_alike() -> None:
    assert (make_policy().accepts, make_policy().compares_fences) == (accept_present, True)
    weak = make_policy("fencing")
    assert (weak.accepts, weak.compares_fences) == (accept_any, False)


def test_the_links_of_a_chain_stand_in_the_order_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chains = set()

    class Looks(Invoke):
        async def __call__(self, delivery: Delivery) -> Settlement:
            files = [Path(frame.filename) for frame in traceback.extract_stack()]
            links = [path.stem for path in files if path.parent.name == "patterns"]
            chains.add(tuple(dict.fromkeys(links)))
            return await super().__call__(delivery)

    monkeypatch.setattr("lab.wiring.process.chain.Invoke", Looks)
    run("happy-path", orders=1)

    assert chains == {tuple(row.name for row in TABLE if row.place is Place.CHAIN)}


@pytest.mark.parametrize("name", NAMES)
def test_a_switch_is_thrown_in_the_table_and_in_one_other_file_at_most(name: str) -> None:
    asks = re.compile(rf'Switches\.{name}\b|"{name}" (not )?in\b')
    files = [
        str(path.relative_to(LAB))
        for path in sorted(LAB.rglob("*.py"))
        if asks.search(path.read_text(encoding="utf-8"))
    ]

    assert len({*files, "wiring/policy.py"}) <= 2, files
    assert files, "nothing asks for it"
