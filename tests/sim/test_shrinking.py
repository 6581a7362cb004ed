"""Plans that were shrunk: nothing more can go, the same promise breaks, and files repeat it."""

import runpy
from pathlib import Path

import pytest

from lab import run
from lab.explore.shrinking import ShrinkError, Shrinking
from lab.explore.shrunk_files import Shrunk, keep_shrunk
from lab.faults.plan.as_text import fault_of
from lab.faults.plan.file import Firing
from lab.wiring.planned import simulated_spec_of
from lab.wiring.replay import plan_of, replay

pytestmark = pytest.mark.slow


def shrunk(
    tmp_path: Path, scenario: str, off: str, promise: str | None = None, **more: int
) -> Shrunk:
    """A run of the scenario without a pattern, kept, and its plan shrunk."""
    result = run(scenario, off=off.split(","), out=tmp_path, **more)  # type: ignore[arg-type]  # numbers
    assert result.verdict == "FAIL"
    assert result.run_dir is not None
    path, plan = plan_of(Path(result.run_dir))
    spec = simulated_spec_of(path, plan)
    shrinking = Shrinking(spec, promise)
    shrinking.run()
    assert shrinking.is_over
    return keep_shrunk(spec, shrinking, tmp_path)


@pytest.mark.parametrize(
    ("scenario", "off", "promise", "kind"),
    [
        ("duplicates", "dedupe,inbox", "effect-once", "bus.duplicate"),
        ("crash-between-commit-and-publish", "outbox", "no-lost-event", "bus.drop_publish"),
        ("hung-after-charge", "provider_key", "money-matches", "svc.hang_after_effect"),
    ],
)
def test_one_order_and_one_fault_are_left_and_the_same_promise_breaks(
    scenario: str, off: str, promise: str, kind: str, tmp_path: Path
) -> None:
    found = shrunk(tmp_path, scenario, off, promise, orders=60)

    assert (found.promise, found.orders, len(found.plan.firings)) == (promise, 1, 1)
    assert found.plan.firings[0].kind == kind
    assert found.faults_before > 1
    assert found.files is not None
    again = run("shrunk", scenarios=[Path(found.files[0])], seed=1, off=off.split(","))
    assert found.witness in {one.witness for one in again.checks if one.name == promise}
    healthy = run("shrunk", scenarios=[Path(found.files[0])], seed=1)
    assert healthy.verdict == "PASS", "the patterns hold the smallest plan too"


def test_a_plan_that_needs_two_orders_keeps_two_and_the_kept_run_is_replayed(
    tmp_path: Path,
) -> None:
    found = shrunk(tmp_path, "rebalance-storm", "fencing", orders=60)

    assert found.promise == "fenced"
    assert len(found.plan.firings) == 1
    assert found.run_dir is not None
    assert replay(Path(found.run_dir)).is_same


def test_the_test_that_it_writes_is_red_as_long_as_the_promise_breaks(tmp_path: Path) -> None:
    found = shrunk(tmp_path, "duplicates", "dedupe,inbox", orders=30)

    assert found.files is not None
    test = Path(found.files[1])
    with pytest.raises(AssertionError, match=found.witness):
        runpy.run_path(str(test))["test_effect_once_holds"]()
    test.write_text(test.read_text("utf-8").replace('off=["dedupe", "inbox"]', "off=[]"), "utf-8")
    runpy.run_path(str(test))["test_effect_once_holds"]()


def test_nothing_is_shrunk_of_a_plan_that_breaks_nothing(tmp_path: Path) -> None:
    result = run("duplicates", orders=5, out=tmp_path)
    path, plan = plan_of(Path(str(result.run_dir)))

    with pytest.raises(ShrinkError, match="breaks no promise"):
        Shrinking(simulated_spec_of(path, plan))
    with pytest.raises(ShrinkError, match="does not break fenced"):
        Shrinking(simulated_spec_of(path, plan), "fenced")


def test_what_was_found_until_an_interruption_is_kept(tmp_path: Path) -> None:
    result = run("rebalance-storm", off=["fencing"], orders=60, out=tmp_path)
    path, plan = plan_of(Path(str(result.run_dir)))
    spec = simulated_spec_of(path, plan)
    shrinking = Shrinking(spec)

    def told(smallest: object, _runs: int) -> None:
        if smallest is not shrinking.began:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrinking.run(told=told)

    found = keep_shrunk(spec, shrinking, tmp_path)
    assert found.partial
    assert len(found.plan.firings) < found.faults_before
    assert found.promise == "fenced"


def test_a_firing_that_no_text_can_say_is_not_said() -> None:
    # done=yes contradicts 429.
    hint: dict[str, int | str] = {"status": 429, "stored": "no", "done": "yes", "after": 1_000_000}
    firing = Firing(
        kind="svc.error", site="payment_gateway", subject="1", occurrence=1, t_us=0, params=hint
    )

    assert fault_of(firing) is None
