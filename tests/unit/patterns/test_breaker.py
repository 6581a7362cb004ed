"""The breaker: opens on failures, lets one probe through, and burns no attempt."""

import asyncio
from collections.abc import Callable

import pytest

from lab.domain.errors import (
    Down,
    Indeterminate,
    LabError,
    Permanent,
    Replayed,
    Throttled,
    Transient,
)
from lab.history.calls import BreakerEntry
from lab.patterns.breaker import Breaker, NoBreaker
from lab.runtime.virtual_loop import Scheduler, sleep_us
from lab.stores.memory.base import crossing
from tests.kit.chain_parts import PROCESS, SECOND, Entries, Hand, make_pen
from tests.kit.entries import of_type
from tests.kit.stepping import at_once


class Provider:
    """Answers what it is told."""

    def __init__(self) -> None:
        self.error: LabError | None = None
        self.calls = 0

    async def charge(self, order_id: str, *, deadline_us: int) -> str:
        self.calls += 1
        await crossing()
        if self.error is not None:
            raise self.error
        return f"{order_id}:{deadline_us}"


def make_breaker(hand: Hand, entries: Entries | None = None) -> Breaker:
    return Breaker(
        "gateway",
        window_us=10 * SECOND,
        calls_min=4,
        failures_percent=50,
        open_us=5 * SECOND,
        clock=hand.now_us,
        pen=make_pen(hand.now_us, entries),
    )


class Bench:
    """A guarded provider."""

    def __init__(self) -> None:
        self.hand, self.entries, self.provider = Hand(), Entries(), Provider()
        self.charge = make_breaker(self.hand, self.entries).guard(self.provider.charge)

    def call(self, error: LabError | None = None) -> str:
        """What comes of one call: `ok`, or the name of what was raised."""
        self.provider.error = error
        try:
            at_once(self.charge("o", deadline_us=1))
        except LabError as raised:
            return type(raised).__name__
        return "ok"

    def open(self) -> None:
        for _ in range(4):
            self.call(Transient("503"))

    def states(self) -> list[object]:
        return [state for _, state in self.entries.of("breaker")]


def test_a_guarded_call_is_the_call() -> None:
    bench = Bench()

    assert at_once(bench.charge("o-1", deadline_us=7)) == "o-1:7"


@pytest.mark.parametrize("make", [make_breaker, lambda _hand: NoBreaker("gateway")])
def test_an_error_carries_the_name_of_its_dependency(make: Callable[[Hand], Breaker]) -> None:
    provider = Provider()
    provider.error = Transient("503")

    with pytest.raises(Transient) as raised:
        at_once(make(Hand()).guard(provider.charge)("o", deadline_us=1))

    assert raised.value.dependency == "gateway"


def test_enough_failures_open_it_and_then_nobody_is_called() -> None:
    bench = Bench()

    results = [bench.call(Transient("503")) for _ in range(6)]

    assert results == ["Transient"] * 4 + ["Down"] * 2
    assert bench.provider.calls == 4
    assert bench.states() == ["open"]


def test_an_open_breaker_says_when_to_come_back() -> None:
    bench = Bench()
    bench.open()
    bench.hand.us = 2 * SECOND

    with pytest.raises(Down) as raised:
        at_once(bench.charge("o", deadline_us=1))

    assert (raised.value.dependency, raised.value.after_us) == ("gateway", 3 * SECOND)


def test_few_calls_or_a_small_share_of_failures_open_nothing() -> None:
    few, small = Bench(), Bench()

    for _ in range(3):
        few.call(Transient("503"))
    for _ in range(9):
        small.call()
    for _ in range(8):
        small.call(Indeterminate("no answer"))

    assert few.states() == small.states() == []


def test_failures_out_of_the_window_are_forgotten() -> None:
    bench = Bench()

    for second in range(0, 60, 4):
        bench.hand.us = second * SECOND
        bench.call(Transient("503"))

    assert bench.states() == []


@pytest.mark.parametrize(
    "answer", [Permanent("400"), Throttled("429", after_us=1), Replayed("an old 503")]
)
def test_an_answer_that_refuses_is_an_answer(answer: LabError) -> None:
    bench = Bench()

    for _ in range(20):
        bench.call(answer)

    assert bench.states() == []


def test_a_probe_that_succeeds_closes_it() -> None:
    bench = Bench()
    bench.open()
    bench.hand.us = 5 * SECOND

    assert [bench.call(), bench.call()] == ["ok", "ok"]
    assert bench.states() == ["open", "half_open", "closed"]
    assert bench.call(Transient("503")) == "Transient", "old failures are forgotten"


def test_a_probe_that_gets_an_old_failure_again_closes_it_and_is_an_attempt() -> None:
    bench = Bench()
    bench.open()
    bench.hand.us = 5 * SECOND

    assert [bench.call(Replayed("an old 503")), bench.call()] == ["Replayed", "ok"]
    assert bench.states() == ["open", "half_open", "closed"]


def test_a_probe_that_fails_is_down_and_counts_no_attempt() -> None:
    bench = Bench()
    bench.open()
    bench.hand.us = 5 * SECOND

    assert bench.call(Transient("503")) == "Down"
    assert bench.call() == "Down"
    assert bench.states() == ["open", "half_open", "open"]
    bench.hand.us = 10 * SECOND
    assert bench.call() == "ok"


def test_one_probe_at_a_time_and_a_cancelled_one_frees_its_place() -> None:
    bench = Bench()
    bench.open()
    bench.hand.us = 5 * SECOND
    results = []

    async def hang(_order_id: str, *, deadline_us: int) -> str:  # noqa: ARG001 - the port's shape
        await asyncio.get_running_loop().create_future()
        return "never"

    async def main() -> None:
        breaker = make_breaker(bench.hand)
        failing, hanging = breaker.guard(bench.provider.charge), breaker.guard(hang)
        for _ in range(4):
            with pytest.raises(Transient):
                await failing("o", deadline_us=1)
        bench.hand.us = 10 * SECOND

        async def probe() -> None:
            await hanging("o", deadline_us=1)

        task = asyncio.get_running_loop().create_task(probe())
        await sleep_us(1)
        with pytest.raises(Down):
            await failing("o", deadline_us=1)
        task.cancel()
        await sleep_us(1)
        bench.provider.error = None
        results.append(await failing("o", deadline_us=1))

    bench.provider.error = Transient("503")
    with Scheduler() as scheduler:
        scheduler.run(main())
    assert results == ["o:1"]


def test_a_late_answer_from_before_says_nothing_about_now() -> None:
    hand, answers = Hand(), []
    breaker = make_breaker(hand)

    async def slow(_number: int) -> str:
        await sleep_us(SECOND)
        raise Transient("503")

    async def one(number: int) -> None:
        try:
            await breaker.guard(slow)(number)
        except LabError as error:
            answers.append(type(error).__name__)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one(number)) for number in range(8)]
        for task in tasks:
            await task

    entries = Entries()
    breaker._write = entries.write
    with Scheduler() as scheduler:
        scheduler.run(main())
    assert answers == ["Transient"] * 8
    assert len(entries.of("breaker")) == 1, "four late failures do not open it a second time"


def test_without_a_breaker_everybody_keeps_calling() -> None:
    provider = Provider()
    provider.error = Transient("503")
    charge = NoBreaker("gateway").guard(provider.charge)

    for _ in range(50):
        with pytest.raises(Transient):
            at_once(charge("o", deadline_us=1))

    assert provider.calls == 50


def test_exactly_the_declared_share_of_failures_opens_it_and_less_does_not() -> None:
    half, less = Bench(), Bench()

    for failure in (None, None, Transient("503"), Transient("503")):
        half.call(failure)
    for _ in range(51):
        less.call()
    for _ in range(50):
        less.call(Transient("503"))

    assert half.states() == ["open"]
    assert less.states() == []


@pytest.mark.parametrize(
    ("failures_at", "opened_at"),
    [
        ((0, 0, 0, 9), 9),
        ((0, 0, 0, 10, 10, 10, 10), 10),
        ((20, 20, 20, 21), 21),
        ((1, 1, 2, 11, 11, 11), 11),
    ],
)
def test_a_failure_counts_for_the_whole_window_and_no_longer(
    failures_at: tuple[int, ...], opened_at: int
) -> None:
    bench = Bench()

    for second in failures_at[:-1]:
        bench.hand.us = second * SECOND
        bench.call(Transient("503"))
        assert bench.states() == []
    bench.hand.us = failures_at[-1] * SECOND
    bench.call(Transient("503"))

    assert bench.states() == ["open"]
    (entry,) = of_type(bench.entries, BreakerEntry)
    assert entry == ("breaker", opened_at * SECOND, PROCESS, "", "gateway", "open")


def test_failures_leave_the_window_in_slices_of_a_tenth_of_it() -> None:
    bench = Bench()

    for tenths in (9, 9, 9, 100):
        bench.hand.us = tenths * SECOND // 10
        bench.call(Transient("503"))

    assert bench.states() == []


def test_who_comes_while_a_probe_is_under_way_or_after_it_failed_hears_when_to_come_back() -> None:
    bench = Bench()
    bench.open()
    heard = []

    async def busy(_order_id: str, *, deadline_us: int) -> str:
        with pytest.raises(Down, match="gateway is down") as refused:
            await guarded("another", deadline_us=deadline_us)
        heard.append(refused.value.after_us)
        raise Transient("503")

    breaker = make_breaker(bench.hand)
    guarded = breaker.guard(busy)
    failing = breaker.guard(bench.provider.charge)
    bench.provider.error = Transient("503")
    for _ in range(4):
        with pytest.raises(Transient):
            at_once(failing("o", deadline_us=1))
    for late_us in (-1, 0):
        bench.hand.us = 5 * SECOND + late_us
        with pytest.raises(Down) as failed:
            at_once(guarded("o", deadline_us=1))
        heard.append(failed.value.after_us)

    assert heard == [SECOND // 2, SECOND // 2, 5 * SECOND]


def test_an_answer_from_two_states_ago_says_nothing_about_now() -> None:
    hand, entries = Hand(), Entries()
    breaker = make_breaker(hand, entries)
    seen = []

    async def answer(error: LabError | None, after_us: int) -> None:
        await sleep_us(after_us)
        if error is not None:
            raise error

    call = breaker.guard(answer)

    async def one(error: LabError | None, after_us: int = 0) -> None:
        try:
            await call(error, after_us)
        except LabError as raised:
            seen.append(type(raised).__name__)

    async def cycle() -> None:
        for _ in range(4):
            await one(Transient("503"))
        hand.us += 5 * SECOND
        await one(None)

    async def main() -> None:
        await cycle()
        late = [
            asyncio.get_running_loop().create_task(one(Transient("old"), SECOND)) for _ in range(4)
        ]
        await sleep_us(1)
        await cycle()
        for task in late:
            await task

    with Scheduler() as scheduler:
        scheduler.run(main())
    states = [state for _, state in entries.of("breaker")]
    assert states == ["open", "half_open", "closed"] * 2, "the four old failures count for nothing"
    assert seen == ["Transient"] * 12


def test_a_success_that_completes_the_minimum_opens_nothing() -> None:
    bench = Bench()
    for _ in range(3):
        bench.call(Transient("503"))

    # Three of four calls have failed; only a failure looks at the share, as the next one does.
    assert [bench.call(), bench.states()] == ["ok", []]
    bench.call(Transient("503"))
    assert bench.states() == ["open"]
