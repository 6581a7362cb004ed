"""`everything`: each seed draws its own faults, says which, and no promise breaks."""

import re
import shlex

from lab import run
from lab.faults.table.kinds import KINDS
from lab.faults.table.spec import parse_fault
from lab.scenarios.swarm import draw_swarm
from tests import soak
from tests.kit.reached import all_names

SEEDS = range(1, 21)


def test_no_promise_breaks_whatever_a_seed_draws() -> None:
    for seed in SEEDS:
        result = run("everything", seed=seed, orders=20)

        assert [check.witness for check in result.checks if check.verdict == "FAIL"] == [], seed


def test_the_result_says_what_the_seed_drew() -> None:
    result = run("everything", seed=7, orders=10)

    drawn = draw_swarm(7, "simulated")
    assert result.options["faults"] == list(drawn.faults)
    assert result.reproduce == "lab run everything --seed 7 --orders 10"
    (note,) = [note for note in result.notes if "drew" in note]
    words = shlex.split(re.sub(r"^seed 7 drew ", "", note))
    assert [w for at, w in enumerate(words) if words[at - 1] == "--fault"] == list(drawn.faults)
    assert words.count("--set") == len(drawn.settings)


def test_what_was_drawn_and_asked_for_by_name_is_the_same_run() -> None:
    for seed in (3, 4):
        drawn = draw_swarm(seed, "simulated")
        result = run("everything", seed=seed, orders=15)
        again = run(
            "happy-path",
            seed=seed,
            orders=15,
            rate=10,
            faults=drawn.faults,
            settings=drawn.settings,
        )
        assert again.digest == result.digest
        assert again.settings == result.settings


def test_the_soak_knows_what_was_drawn_and_what_was_reached() -> None:
    names = all_names()
    assert len(set(names)) == len(names)

    found = [soak.run_seed(seed, 10) for seed in SEEDS[:10]]

    for one in found:
        assert one.broken == {}
        asked = {parse_fault(text).kind for text in draw_swarm(one.seed, "simulated").faults}
        assert asked <= set(one.asked) <= set(names)
        fired = {name for name in one.reached if name in KINDS}
        assert fired <= set(one.asked)
    reached = {name for one in found for name in one.reached}
    assert {"state CONFIRMED", "PAID -> CONFIRMED", "topic orders"} <= reached
    assert any("retry tier" in name for name in reached)
    assert any(name.startswith("proc.crash@") for name in reached)
