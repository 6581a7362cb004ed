"""The bus in memory and its baseline move every event; nothing here looks at how fast."""

import msgspec
import pytest

from lab.bench import memory_bus
from lab.bench.baselines.queue_events import queue_event_us
from lab.bench.load import BenchError
from lab.bench.memory_bus import BURST, bus_event_us
from lab.bench.sample_orders import make_created, make_payload
from lab.domain.codec import decode


def test_every_event_is_handled_and_committed() -> None:
    assert bus_event_us(BURST + 1) > 0


def test_events_that_are_not_committed_are_no_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_bus, "_LIMIT_US", 0)

    with pytest.raises(BenchError, match="0 committed"):
        bus_event_us(3)


def test_the_queue_moves_the_same_events() -> None:
    made: list[int] = []

    def make(number: int) -> msgspec.Struct:
        made.append(number)
        return make_payload(number)

    assert queue_event_us(make, 25, burst=10) > 0
    # One more tells the type.
    assert sorted(made) == [0, *range(25)]
    created = make_created(7)
    assert decode(created.type, created.data) == make_payload(7)
