"""Faults of processes and outages of the broker in the whole system.

With every pattern on each of them really strikes and no promise breaks; without its pattern the one
that it is for does. Not here: crash points (`test_crash_points.py`).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab import run
from lab.report.result import Result

SEEDS = range(1, 7)  # `make soak` runs thousands
TWO_MEMBERS = {"run.members": 2}

FAULTS: tuple[tuple[str, tuple[str, ...], Mapping[str, object]], ...] = (
    ("proc.pause", ("proc.pause rate=0.02 by=5s",), {}),
    ("proc.pause", ("proc.pause rate=0.02 by=60s",), TWO_MEMBERS),
    ("proc.pause", ("proc.pause@payment-1 at=1s for=60s",), TWO_MEMBERS),
    ("proc.pause", ("proc.pause@api at=1s for=20s", "proc.pause@relay at=1s for=3s"), {}),
    ("proc.cancel", ("proc.cancel rate=0.1",), {}),
    ("proc.cancel", ("proc.cancel rate=0.1",), {"run.members": 3}),
    ("proc.crash_loop", ("proc.crash_loop@validation#7",), {}),
    ("proc.crash_loop", ("proc.crash_loop@payment#7",), {}),
    ("proc.crash_loop", ("proc.crash_loop@orders#7",), TWO_MEMBERS),
    ("proc.crash_loop", ("proc.crash_loop@notification#7",), {}),
    ("bus.down", ("bus.down at=500ms for=30s",), {}),
    ("bus.down", ("bus.down at=500ms for=2s", "proc.crash@payment at=600ms"), TWO_MEMBERS),
)
"""A kind, the faults, and policies; one more fault may stand beside."""

ORDERS = {"proc.pause": 25, "proc.cancel": 25, "proc.crash_loop": 10, "bus.down": 25}
"""A deadly record costs some five deaths, and a session each: few orders beside it are enough."""

MIXTURE = (
    "proc.pause rate=0.02 by=50s",
    "proc.cancel rate=0.05",
    "proc.crash rate=0.005",
    "proc.term rate=0.005",
    "proc.crash_loop@payment#3",
    "bus.down at=700ms for=4s",
    "bus.duplicate rate=0.1",
    "svc.timeout rate=0.05",
)


def struck(
    *faults: str,
    seed: int,
    off: tuple[str, ...] = (),
    policies: Mapping[str, object],
    orders: int = 25,
) -> Result:
    return run(
        "happy-path", seed=seed, orders=orders, rate=20, faults=faults, off=off, settings=policies
    )


def broken(result: Result) -> dict[str, str | None]:
    return {check.name: check.witness for check in result.checks if check.verdict == "FAIL"}


def fired(result: Result, kind: str) -> int:
    return sum(fault.fired for fault in result.faults if fault.name == kind)


@pytest.mark.parametrize(("kind", "faults", "policies"), FAULTS)
def test_it_strikes_and_no_promise_breaks(
    kind: str, faults: tuple[str, ...], policies: Mapping[str, object]
) -> None:
    struck_at_all = 0
    for seed in SEEDS:
        order = ("fifo", "shuffle")[seed % 2]
        result = struck(
            *faults, seed=seed, policies={"run.order": order, **policies}, orders=ORDERS[kind]
        )

        assert broken(result) == {}, seed
        struck_at_all += fired(result, kind)
    assert struck_at_all >= len(SEEDS)


@pytest.mark.parametrize("members", [1, 2])
def test_no_promise_breaks_in_their_mixture(members: int) -> None:
    for seed in SEEDS:
        result = struck(*MIXTURE, seed=seed, policies={"run.members": members})

        assert broken(result) == {}, seed


def test_a_group_of_many_members_keeps_every_promise_and_all_of_them_work(tmp_path: Path) -> None:
    result = run(
        "happy-path", orders=60, rate=50, settings={"run.members": 3}, out=tmp_path, history="all"
    )

    assert result.verdict == "PASS"
    assert result.run_dir is not None
    lines = (Path(result.run_dir) / "history.ndjson").read_text().splitlines()
    at_work = {entry["process"] for entry in map(json.loads, lines) if entry["kind"] == "deliver"}
    assert {f"payment-{number}" for number in (1, 2, 3)} <= at_work


# ---- what a pattern is for


@pytest.mark.parametrize("group", ["validation", "payment", "orders"])
def test_without_fencing_a_process_that_wakes_up_too_late_completes_what_is_not_its_any_more(
    group: str,
) -> None:
    for seed in SEEDS:
        given = (f"proc.pause@{group}#10 by=60s",)

        with_it = struck(*given, seed=seed, policies=TWO_MEMBERS)
        without = struck(*given, seed=seed, policies=TWO_MEMBERS, off=("fencing",))

        assert broken(with_it) == {}
        assert broken(without).keys() == {"fenced"}, seed


@pytest.mark.parametrize("group", ["validation", "payment", "orders", "notification"])
def test_without_the_poison_guard_a_deadly_record_stops_its_group_for_ever(group: str) -> None:
    for seed in (1, 2, 3):
        given = (f"proc.crash_loop@{group}#7",)

        with_it = struck(*given, seed=seed, policies={})
        without = struck(*given, seed=seed, policies={}, off=("poison_guard",))

        assert broken(with_it) == {}
        (use,) = [use for use in with_it.patterns if use.name == "poison_guard"]
        assert use.acted["buried"] >= 1
        assert {"converges", "drains"} <= broken(without).keys()


def test_a_cancelled_delivery_is_released_each_time_and_never_swallowed(tmp_path: Path) -> None:
    result = run(
        "happy-path",
        orders=40,
        rate=20,
        faults=["proc.cancel rate=0.2"],
        out=tmp_path,
        history="all",
    )

    assert broken(result) == {}
    assert result.run_dir is not None
    lines = (Path(result.run_dir) / "history.ndjson").read_text().splitlines()
    settled = [entry for entry in map(json.loads, lines) if entry["kind"] == "settle"]
    released = [e for e in settled if (e["settlement"], e["why"]) == ("release", "cancelled")]
    assert len(released) == fired(result, "proc.cancel") > 20


# ---- the end of an outage, the end of the faults


def test_an_outage_lasts_as_long_as_was_asked_for_however_short_the_load_is() -> None:
    result = struck("bus.down at=1s for=10m", seed=1, policies={})

    assert broken(result) == {}
    assert result.time.virtual_ms > 600_000
    assert fired(result, "bus.down") == 1


def test_recovery_is_the_time_from_the_end_of_an_outage_to_the_last_order_that_it_held_up() -> None:
    during, after, none = (
        struck(*faults, seed=3, policies={}, orders=40).metrics["recovery_ms"]
        for faults in (
            ("bus.down at=1s for=30s",),
            # The load goes on for a second more; what comes then was not held up.
            ("bus.down at=200ms for=800ms",),
            (),
        )
    )

    assert 0 < during < 5_000
    assert 0 < after < 5_000
    assert none == 0


def test_liveness_is_judged_after_heal_only() -> None:
    result = struck("proc.pause@payment at=0s for=1h", seed=1, policies={}, orders=10)

    assert broken(result) == {}
    assert result.metrics["to_terminal_p50_ms"] > 3_500_000, "an hour without any progress"
