"""Upper bounds leave out the time in which a process stood still, as it tells itself."""

import pytest

from tests.kit.histories import MS, S, Story, judge


@pytest.mark.parametrize(("stalled_us", "verdict"), [(900 * MS, "PASS"), (300 * MS, "FAIL")])
def test_a_call_that_took_too_long_while_its_process_stood_still_was_in_time(
    stalled_us: int, verdict: str
) -> None:
    story = Story()
    story.order("37.1")
    story.call("payment-1", "37.1", "payment_gateway", "query", took_us=2_800 * MS)
    story.write("stalled", "payment-1", "", stalled_us)

    assert judge(story.end())["deadline"].verdict == verdict


def test_only_its_own_process_is_excused() -> None:
    story = Story()
    story.order("37.1")
    story.call("payment-1", "37.1", "payment_gateway", "query", took_us=2_800 * MS)
    story.write("stalled", "orders-1", "", 2 * S)

    assert judge(story.end())["deadline"].verdict == "FAIL"


@pytest.mark.parametrize(("stalled_us", "verdict"), [(3 * S, "PASS"), (MS, "FAIL")])
def test_a_process_that_stood_still_has_longer_to_stop(stalled_us: int, verdict: str) -> None:
    story = Story()
    story.order("37.1")
    story.life("payment-1", "term")
    story.wait(15 * S)
    story.write("stalled", "payment-1", "", stalled_us)
    story.commit_all()
    story.life("payment-1", "stopped")

    assert judge(story.end())["graceful-shutdown"].verdict == verdict
