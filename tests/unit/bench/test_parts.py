"""`--only`: which parts there are, and that each is measured by itself."""

from collections.abc import Iterator

import pytest

from lab.bench import asked_figures, bench, real_figures, rounds, simulated_figures
from lab.bench.long_run import LongRun
from lab.bench.parts import REAL, SIMULATED, OnlyError, choose, usual
from lab.bench.pattern_costs import PatternCalls, PatternCost
from lab.bench.real_rounds import RealSizes
from lab.bench.rounds import FIELDS, Round, Rounds, Sizes, take_rounds
from lab.patterns import NAMES
from tests.kit.bench_reports import make_round

OF_ROUNDS = [part for part in FIELDS if part not in ("latency", "patterns")]
COUNTED = ("sizes", "hop_us", "steps", "timers")


def measured_only(*fields: str) -> Round:
    """A round in which only these fields were measured."""
    others = set(Round.__struct_fields__) - {*COUNTED, "patterns", *fields}
    return make_round(**dict.fromkeys(others, 0.0), patterns={})


def test_without_a_name_the_usual_parts_are_measured_and_none_that_takes_minutes() -> None:
    assert choose((), SIMULATED, REAL) == usual(SIMULATED)
    assert {"patterns", "sizes", "growth"}.isdisjoint(usual(SIMULATED))
    assert "workers" not in usual(REAL)


def test_chosen_parts_stand_in_the_order_of_the_page() -> None:
    assert choose(("sizes", "bus", "order"), SIMULATED, REAL) == ("order", "bus", "sizes")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("oder", "--only knows no 'oder'; did you mean order? There are order, core, chaos"),
        ("§", "--only knows no '§'; there are order, core, chaos"),
        ("kafka", "--only kafka is of lab bench --real; here there are order, core"),
    ],
)
def test_an_unknown_part_is_refused_with_those_that_there_are(name: str, says: str) -> None:
    with pytest.raises(OnlyError) as refused:
        choose(("bus", name), SIMULATED, REAL)

    assert str(refused.value).startswith(says)


def test_a_simulated_part_is_none_of_real_servers() -> None:
    with pytest.raises(OnlyError, match=r"order is of lab bench without --real; here there are k"):
        choose(("order",), REAL, SIMULATED)


def test_every_part_but_the_latency_has_figures_that_name_it() -> None:
    for part in SIMULATED:
        found = {one.part for one in simulated_figures.prototypes(Sizes(), [part.name])}
        assert found == (set() if part.name == "latency" else {part.name})
    for part in REAL:
        assert {one.part for one in real_figures.prototypes(RealSizes(), [part.name])} == {
            part.name
        }


@pytest.mark.parametrize("part", OF_ROUNDS)
def test_the_figures_of_a_part_need_no_more_than_is_measured_for_it(part: str) -> None:
    alone = simulated_figures.all_of([measured_only(*FIELDS[part])], [part])

    assert alone == simulated_figures.all_of([make_round()], [part])


@pytest.mark.parametrize("part", OF_ROUNDS)
def test_nothing_is_measured_for_a_part_that_has_no_use_of_it(part: str) -> None:
    whole = simulated_figures.all_of([make_round()], [part])

    for field in FIELDS[part]:
        other = make_round(**{field: 1234.5})
        assert simulated_figures.all_of([other], [part]) != whole, field


def test_a_round_measures_what_is_wanted_and_nothing_else() -> None:
    told: list[tuple[int, int, str]] = []
    sizes = Sizes(hops=40, events=20, orders=10)
    source = Rounds(["bus"], sizes, rounds=1, on_progress=lambda *progress: told.append(progress))

    taken = source.take()

    assert [name for _, _, name in told] == ["bus", "queue"]
    assert (taken.bus_us > 0, taken.queue_us > 0, taken.hop_us > 0) == (True, True, True)
    assert (taken.order_us, taken.bare_s, taken.patterns) == (0.0, 0.0, {})


def test_a_bench_without_rounds_has_its_hop_all_the_same() -> None:
    taken = Rounds(["sizes"], Sizes(hops=40), rounds=1, on_progress=None).take()

    assert taken.hop_us > 0
    assert simulated_figures.all_of([taken], ["sizes"]) == ()


def rounds_of(*lengths_s: float, duration_s: float | None) -> int:
    """How many rounds are taken, if they take so long one after the other."""
    now_s = 100.0
    lengths: Iterator[float] = iter(lengths_s)

    def take() -> None:
        nonlocal now_s
        now_s += next(lengths)

    taken = take_rounds(take, rounds=3, duration_s=duration_s, clock_s=lambda: now_s)
    return len(taken)


@pytest.mark.parametrize(
    ("lengths", "duration_s", "taken"),
    [
        ((10, 10, 10), None, 3),
        ((10, 10, 10, 99), 30, 3),
        ((10, 10, 99), 29, 2),
        ((10, 10, 25, 99), 44, 3),
        ((99, 99), 1, 1),
    ],
)
def test_as_many_rounds_are_taken_as_fit_into_the_time_and_at_least_one(
    lengths: tuple[float, ...], duration_s: float | None, taken: int
) -> None:
    assert rounds_of(*lengths, duration_s=duration_s) == taken


def test_what_is_asked_for_is_measured_and_stands_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[int] = []

    def long_run(orders: int) -> LongRun:
        runs.append(orders)
        return LongRun(orders=orders, order_us=100.0 + orders, hop_us=1.0, peak_kib=orders)

    cost = PatternCost(on_us=3.0, off_us=2.0)
    calls = PatternCalls(on=4.0, off=dict.fromkeys(NAMES, 2.0))
    monkeypatch.setattr(bench, "measure_long_run", long_run)
    monkeypatch.setattr(bench, "count_all_calls", lambda _orders, _begin: calls)
    monkeypatch.setattr(rounds, "cost_of", lambda _name, _orders: cost)
    sizes = Sizes(hops=40, grow=(10, 50, 100), ladder=(20, 40))

    report = bench.measure(parts=("growth", "patterns", "sizes"), rounds=1, sizes=sizes)

    ratios = {figure.name: figure.ratio for figure in report.figures}
    assert ratios["peak memory, 100 / 50 orders"] == 2.0
    assert ratios["peak memory, 40 orders"] == 2.0
    assert (ratios["pattern inbox"], ratios["pattern inbox, calls"]) == (1.5, 2.0)
    assert runs == [*bench.long_plan(sizes.grow), *bench.long_plan(sizes.ladder)]
    assert (report.parts, report.full) == (("growth", "patterns", "sizes"), True)
    assert report.latency is None


def test_every_pattern_has_a_row_of_time_and_one_of_calls() -> None:
    calls = PatternCalls(on=2.0, off=dict.fromkeys(NAMES, 1.0))

    found = asked_figures.patterns([make_round()], calls)

    assert [one.name for one in found if one.unit == "us"] == [f"pattern {one}" for one in NAMES]
    assert len(found) == 2 * len(NAMES)
