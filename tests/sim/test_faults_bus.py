"""A bus that misbehaves, in the whole system: with every pattern, and without one that helps."""

import pytest

from lab import run
from lab.report.result import Result
from lab.scenarios.loader import ScenarioError

SEEDS = range(1, 7)  # `make soak` runs thousands

KINDS = {
    "bus.drop_publish rate=0.3": ("outbox-atomic", "no-lost-event"),
    "bus.publish_unknown rate=0.3": ("effect-once", "dedupe-sound"),
    "bus.delay rate=0.3": ("per-key-order", "commit-prefix"),
    "bus.reorder rate=0.3": ("per-key-order", "commit-prefix"),
    "bus.rebalance rate=0.2": ("fenced", "commit-prefix"),
    "bus.partition rate=0.05": ("fenced", "commit-prefix"),
    "bus.partition rate=0.03 by=30s..100s": ("fenced", "converges"),
}
"""Each kind, and promises that a run under it must be about."""

BESIDE = ("svc.timeout rate=0.1", "proc.crash@any rate=0.01", "bus.duplicate rate=0.1")

STOPS = ("proc.term@notification rate=0.02", "proc.term@payment at=1s")


def struck(*faults: str, seed: int, off: tuple[str, ...] = (), members: int = 1) -> Result:
    return run(
        "happy-path",
        seed=seed,
        orders=20,
        rate=20,
        faults=faults,
        off=off,
        settings={"run.order": "shuffle" if seed % 3 == 0 else "fifo", "run.members": members},
    )


def broken(result: Result) -> list[str]:
    return [f"{each.name}: {each.witness}" for each in result.checks if each.verdict == "FAIL"]


def promises(result: Result) -> set[str]:
    return {each.name for each in result.checks if each.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize("fault", KINDS)
def test_every_promise_holds_while_the_bus_misbehaves(fault: str) -> None:
    strikes = 0
    judged: set[str] = set()
    for seed in SEEDS:
        result = struck(fault, seed=seed)

        assert broken(result) == [], seed
        strikes += fired(result, fault.partition(" ")[0])
        judged |= {each.name for each in result.checks if each.verdict == "PASS"}
    assert strikes >= len(SEEDS)
    assert judged >= set(KINDS[fault])


@pytest.mark.parametrize("fault", KINDS)
def test_every_promise_holds_with_crashes_and_slow_third_parties_beside_it(fault: str) -> None:
    for seed in SEEDS[::2]:
        result = struck(fault, *BESIDE, seed=seed, members=1 + seed % 3)

        assert broken(result) == [], seed


def test_every_promise_holds_while_everything_on_the_bus_goes_wrong_and_processes_stop() -> None:
    everything = (*KINDS, "bus.drop_ack rate=0.05", "bus.poison rate=0.01")
    for seed in SEEDS:
        result = struck(*everything, *BESIDE, *STOPS, seed=seed, members=1 + seed % 2)

        assert broken(result) == [], seed


@pytest.mark.parametrize("fault", [*KINDS, "bus.reorder rate=1", "bus.rebalance rate=1"])
def test_a_fault_of_the_bus_moves_nothing_when_it_is_repeated(fault: str) -> None:
    first, second = (struck(fault, *BESIDE, seed=5) for _ in range(2))
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("fault", "off", "promise"),
    [
        ("bus.drop_publish#every4", ("outbox",), "outbox-atomic"),
        ("bus.publish_unknown#every4", ("dedupe", "inbox"), "effect-once"),
    ],
)
def test_without_its_pattern_the_fault_breaks_a_promise(
    fault: str, off: tuple[str, ...], promise: str
) -> None:
    for seed in (1, 2, 3):
        assert broken(struck(fault, seed=seed)) == []
        assert promise in promises(struck(fault, seed=seed, off=off))


def test_a_delay_and_crashes_lose_events_if_more_than_the_prefix_is_committed() -> None:
    faults = ("bus.delay rate=0.5 by=5s", "proc.crash@handler.after_ack rate=0.05")
    lost = [
        seed
        for seed in SEEDS
        if "no-lost-event" in promises(struck(*faults, seed=seed, off=("commit_prefix",)))
    ]
    assert len(lost) >= len(SEEDS) // 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("bus.drop_publish#every4 told=no", {"outbox-atomic", "no-lost-event", "converges"}),
        ("bus.reorder@notification rate=0.5 within_key=yes", {"per-key-order", "log-sound"}),
    ],
)
def test_what_is_beyond_the_contract_is_refused_or_breaks_what_it_says(
    fault: str, expected: set[str]
) -> None:
    with pytest.raises(ScenarioError, match="beyond"):
        run("happy-path", orders=5, faults=[fault])

    broke: set[str] = set()
    for seed in (1, 2, 3):
        result = run("happy-path", seed=seed, orders=30, faults=[fault], beyond_contract=True)
        assert result.verdict == "UNKNOWN"
        broke |= promises(result)
    assert broke == expected
