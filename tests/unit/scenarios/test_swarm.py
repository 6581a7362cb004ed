"""What a seed of a swarm draws: always the same, always allowed, and over seeds everything."""

from collections import Counter
from functools import cache

import pytest

from lab.domain.events import READS
from lab.faults.table.crash_points import CRASH_POINTS
from lab.faults.table.kinds import KINDS
from lab.faults.table.providers import NOT_EXECUTED
from lab.faults.table.row import ParamType
from lab.faults.table.spec import FaultSpec, parse_fault
from lab.scenarios import swarm
from lab.scenarios.bundles import BUNDLES, Bundle
from lab.scenarios.loader import find_scenario, load_catalogue
from lab.scenarios.run_options import RunOptions
from lab.scenarios.scenario import REAL, SIMULATED, WORLDS
from lab.settings import WALL_CLOCK, settings_for
from lab.settings_table import SETTINGS
from lab.wiring.spec import RunSpec, make_spec

SEEDS = range(1, 401)
EVERYTHING = find_scenario(load_catalogue(), "everything")


@cache
def drawn(world: str = SIMULATED) -> list[FaultSpec]:
    return [parse_fault(text) for seed in SEEDS for text in swarm.draw_swarm(seed, world).faults]


def make_everything(seed: int, *, orders: int | None = None) -> RunSpec:
    return make_spec(RunOptions(scenario=EVERYTHING, seed=seed, orders=orders))


def test_a_draw_is_a_function_of_the_seed() -> None:
    for seed in (0, 1, 2**63 - 1):
        assert swarm.draw_swarm(seed, SIMULATED) == swarm.draw_swarm(seed, SIMULATED)
    assert len({swarm.draw_swarm(seed, SIMULATED).faults for seed in SEEDS}) > 0.9 * len(SEEDS)


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_drawn_exists_in_its_world_and_is_within_the_contract(world: str) -> None:
    for fault in drawn(world):
        assert world in KINDS[fault.kind].worlds, fault.text
        assert not fault.is_beyond_contract, fault.text


@pytest.mark.parametrize("world", WORLDS)
def test_over_seeds_every_kind_and_crash_point_of_a_world_is_drawn_at_every_site(
    world: str,
) -> None:
    found = Counter((fault.kind, site) for fault in drawn(world) for site in fault.sites)
    timed = Counter((fault.kind, fault.process) for fault in drawn(world) if fault.is_timed)

    for kind in KINDS.values():
        # A real run at random has one broker.
        is_left_out = kind.name not in swarm.fault_names(world)
        assert is_left_out <= (world not in kind.worlds or kind.beyond_contract or world == REAL)
        if is_left_out:
            assert not any(name == kind.name for name, _ in (*found, *timed)), kind.name
        elif kind.is_timed or kind.is_outage:
            struck = kind.sites
            assert all(timed[kind.name, process] for process in struck), kind.name
        else:
            assert all(found[kind.name, site] for site in kind.sites), kind.name
    for group in READS:
        for name in ("proc.crash", "proc.term", "proc.pause"):
            if world in KINDS[name].worlds:
                assert timed[name, group], (name, group)
    if world == SIMULATED:
        assert all(found[swarm.CRASH, point] for point in CRASH_POINTS)


def test_every_parameter_takes_other_values_than_its_default() -> None:
    values: dict[tuple[str, str], set[object]] = {}
    for fault in drawn():
        for name, value in fault.params.items():
            values.setdefault((fault.kind, name), set()).add(value)

    for kind in KINDS.values():
        for param in kind.params:
            allowed = set(param.choices) - set(param.beyond_contract)
            found = values[kind.name, param.name]
            if allowed:
                assert found == allowed, (kind.name, param.name)
            else:
                low, high = swarm.NUMBERS.get((kind.name, param.name), (1, 11))
                assert len(found) >= min(high - low + 1, 11), (kind.name, param.name)


def test_a_stored_answer_is_never_one_that_was_not_executed() -> None:
    errors = [fault for fault in drawn() if fault.kind == "svc.error"]
    assert any(fault.params["stored"] == "yes" for fault in errors)
    for fault in errors:
        assert fault.params["stored"] == "no" or fault.params["status"] not in NOT_EXECUTED


def test_some_seeds_draw_few_faults_and_others_many() -> None:
    counts = sorted(len(swarm.draw_swarm(seed, SIMULATED).faults) for seed in SEEDS)
    assert counts[0] == 1
    assert counts[len(counts) // 5] <= 5
    assert counts[-1] > 0.6 * len(swarm.fault_names(SIMULATED))


def test_many_faults_come_in_smaller_doses_than_few() -> None:
    rates: dict[bool, list[float]] = {True: [], False: []}
    for seed in SEEDS:
        texts = swarm.draw_swarm(seed, SIMULATED).faults
        faults = [parse_fault(text) for text in texts]
        rates[len(texts) > 20] += [
            fault.rate for fault in faults if fault.kind == "pg.deadlock" and fault.rate < 1
        ]
    assert max(rates[True]) < 0.1 < max(rates[False])


def test_a_kind_that_is_added_moves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [swarm.draw_swarm(seed, SIMULATED) for seed in SEEDS]
    fewer = {name: kind for name, kind in KINDS.items() if name != "bus.delay"}
    monkeypatch.setattr(swarm, "KINDS", fewer)

    for seed, whole in zip(SEEDS, before, strict=True):
        rest = [text for text in whole.faults if not text.startswith("bus.delay")]
        assert not rest or list(swarm.draw_swarm(seed, SIMULATED).faults) == rest
        assert swarm.draw_swarm(seed, SIMULATED).settings == whole.settings


def test_lengths_of_the_real_world_are_shorter() -> None:
    longest = {
        world: max(fault.until_us or 0 for fault in drawn(world) if fault.kind == "bus.down")
        for world in WORLDS
    }
    assert longest[REAL] < 10_000_000 < longest[SIMULATED]


def test_every_policy_is_drawn_now_and_then_and_never_contradicts_another() -> None:
    known = {setting.name for setting in SETTINGS}
    assert known >= swarm.POLICIES.keys() | swarm.SIMULATED_POLICIES.keys()
    values: dict[str, set[object]] = {}
    for seed in SEEDS:
        for name, value in make_everything(seed).settings.values.items():
            values.setdefault(name, set()).add(value)
        real = swarm.draw_swarm(seed, REAL).settings
        settings_for(WALL_CLOCK).with_changes(real)
        assert not real.keys() & swarm.SIMULATED_POLICIES.keys()
    for name, others in (*swarm.POLICIES.items(), *swarm.SIMULATED_POLICIES.items()):
        assert len(values[name]) == len(others) + 1, name


@pytest.mark.parametrize("world", WORLDS)
def test_every_bundle_is_drawn_and_is_allowed_in_its_world(world: str) -> None:
    scale = 1.0 if world == SIMULATED else 0.1
    draws = [swarm.draw_swarm(seed, world) for seed in range(1, 1_001)]

    for bundle in BUNDLES:
        whole = [bundle.write(f"#every{n}", scale) for n in swarm.BUNDLE_EVERY]
        assert all(parse_fault(text) for text in whole[0])
        found = [draw for draw in draws if draw.faults[-len(whole[0]) :] in whole]
        assert found, bundle
        assert all(draw.settings.items() >= bundle.settings.items() for draw in found)


def test_a_bundle_chooses_orders_and_has_the_lengths_of_its_world() -> None:
    bundle = Bundle(
        faults=("svc.slow@mailer{} first=1 by=20ms..2000ms", "redis.down at=3ms for=9ms")
    )

    assert bundle.write("#every4", 0.1) == (
        "svc.slow@mailer#every4 first=1 by=2ms..200ms",
        "redis.down at=1ms for=1ms",
    )


def test_what_is_asked_for_goes_before_what_is_drawn() -> None:
    for seed in SEEDS[:100]:
        spec = make_spec(
            RunOptions(
                scenario=EVERYTHING,
                seed=seed,
                faults=("svc.timeout rate=0.123",),
                settings={"run.order": "fifo", "run.members": 1},
            )
        )
        assert spec.settings.text("run.order") == "fifo"
        assert spec.settings.number("run.members") == 1
        assert spec.faults[-1].text == "svc.timeout rate=0.123"
        assert len(spec.faults) == len(swarm.draw_swarm(seed, SIMULATED).faults) + 1


def test_fewer_orders_meet_the_same_faults() -> None:
    assert make_everything(9, orders=1).faults == make_everything(9).faults


def test_every_number_without_choices_has_its_bounds_here() -> None:
    for kind in KINDS.values():
        for param in kind.params:
            if param.type in (ParamType.NUMBER, ParamType.WORD) and not param.choices:
                assert (kind.name, param.name) in swarm.NUMBERS
