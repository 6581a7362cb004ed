"""The fault plan: keyed coins, counters, and the explicit plan that repeats them."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.faults.nemesis import Nemesis
from lab.faults.plan import plan as plan_module
from lab.faults.plan.plan import FaultPlan, Firing, PlanError, read_plan
from lab.faults.table.spec import parse_faults
from lab.history.entries import Entry
from lab.ports.chance import Chance, Draw
from lab.runtime.chance import KeyedChance

Visit = tuple[str, str, str]

_visits = st.lists(
    st.tuples(
        st.just("bus.duplicate"),
        st.sampled_from(["payment", "orders"]),
        st.integers(1, 9).map(lambda n: f"{n}.1"),
    ),
    max_size=120,
)


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


def make_plan(
    *texts: str,
    seed: int = 7,
    time: Time | None = None,
    history: list[Entry] | None = None,
    explicit: Sequence[Firing] | None = None,
) -> FaultPlan:
    plan = FaultPlan(
        parse_faults(texts),
        seed=seed,
        chance=KeyedChance(seed),
        now_us=(time or Time()).now_us,
        write=None if history is None else history.append,
        explicit=explicit,
    )
    plan.begin()
    return plan


def fires(plan: FaultPlan, kind: str, site: str, subject: str) -> bool:
    return plan.at(kind, site).fires(subject) is not None


def fired(plan: FaultPlan, visits: Sequence[Visit]) -> set[tuple[str, str, str, int]]:
    for visit in visits:
        fires(plan, *visit)
    return {(f.kind, f.site, f.subject, f.occurrence) for f in plan.firings}


@given(_visits, st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_contains_a_lower_one(
    visits: list[Visit], seed: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))

    less = fired(make_plan(f"bus.duplicate rate={low:.9f}", seed=seed), visits)
    more = fired(make_plan(f"bus.duplicate rate={high:.9f}", seed=seed), visits)

    assert less <= more


@given(_visits, st.integers(0, 9))
def test_another_fault_moves_no_coin(visits: list[Visit], seed: int) -> None:
    other: list[Visit] = [("bus.drop_ack", site, subject) for _, site, subject in visits]
    mixed = [visit for pair in zip(visits, other, strict=True) for visit in pair]

    alone = fired(make_plan("bus.duplicate rate=0.4", seed=seed), visits)
    both = fired(make_plan("bus.drop_ack rate=0.4", "bus.duplicate rate=0.4", seed=seed), mixed)

    assert alone == {coin for coin in both if coin[0] == "bus.duplicate"}


@given(st.permutations([("bus.duplicate", "payment", f"{n}.1") for n in range(20)]))
def test_the_order_of_visits_by_different_subjects_moves_no_coin(visits: list[Visit]) -> None:
    in_order = fired(make_plan("bus.duplicate rate=0.4"), sorted(visits))

    assert fired(make_plan("bus.duplicate rate=0.4"), visits) == in_order


def test_a_rate_is_the_share_of_visits() -> None:
    visits = [("bus.duplicate", "payment", f"{n}.1") for n in range(5_000)]

    assert 900 < len(fired(make_plan("bus.duplicate rate=0.2"), visits)) < 1_100


@given(_visits, st.integers(0, 9))
def test_an_explicit_plan_repeats_what_fired_without_any_coin(
    visits: list[Visit], seed: int
) -> None:
    first = make_plan("bus.duplicate rate=0.3", "bus.duplicate#3 first=2", seed=seed)
    coins = fired(first, visits)

    read = read_plan(first.to_json())
    again = FaultPlan(seed=read.seed, chance=NoCoins(), now_us=Time().now_us, explicit=read.firings)
    again.begin()

    assert fired(again, visits) == coins
    assert again.unreached() == ()


class NoCoins(Chance):
    def u(self, *key: str | int) -> float:
        raise AssertionError(f"no coin is tossed, and {key} was")

    def under(self, *first: str | int) -> Draw:
        raise AssertionError(f"no coin is tossed, and one of {first} was")


def test_parameters_travel_with_an_explicit_plan() -> None:
    first = make_plan("client.cancel rate=1 after=50ms..400ms")
    after = first.at("client.cancel", "client").fires("7.1")

    again = make_plan(explicit=read_plan(first.to_json()).firings)
    repeated = again.at("client.cancel", "client").fires("7.1")

    assert after is not None
    assert repeated is not None
    assert 50_000 <= after.number("after") == repeated.number("after") <= 400_000


def test_coins_of_an_explicit_plan_that_were_never_reached_are_listed() -> None:
    firing = Firing(kind="bus.duplicate", site="payment", subject="7.1", occurrence=3, t_us=0)
    plan = make_plan(explicit=[firing])

    fires(plan, "bus.duplicate", "payment", "7.1")
    fires(plan, "bus.duplicate", "payment", "7.1")
    assert plan.unreached() == (firing,)

    assert fires(plan, "bus.duplicate", "payment", "7.1")
    assert plan.unreached() == ()


@pytest.mark.parametrize(
    ("text", "occurrences"),
    [
        ("nth=3", [3]),
        ("first=2", [1, 2]),
        ("every=3", [3, 6, 9]),
        ("", [1]),
        ("rate=1", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("rate=0", []),
    ],
)
def test_visits_are_counted_per_site_and_subject(text: str, occurrences: list[int]) -> None:
    plan = make_plan(f"svc.error {text}")

    for _ in range(9):
        fires(plan, "svc.error", "mailer", "1.1")
        fires(plan, "svc.error", "mailer", "2.1")
        fires(plan, "svc.error", "warehouse", "1.1")

    for coin in (("mailer", "1.1"), ("mailer", "2.1"), ("warehouse", "1.1")):
        found = [f.occurrence for f in plan.firings if (f.site, f.subject) == coin]
        assert found == occurrences, coin


def test_only_chosen_orders_and_sites_are_struck() -> None:
    plan = make_plan("svc.error@mailer#2-3 rate=1")

    for n in range(1, 6):
        for site in ("mailer", "warehouse"):
            fires(plan, "svc.error", site, f"{n}.1")

    assert [(f.site, f.subject) for f in plan.firings] == [("mailer", "2.1"), ("mailer", "3.1")]


def test_max_counts_over_the_run() -> None:
    plan = make_plan("svc.error rate=1 max=3")

    assert len(fired(plan, [("svc.error", "mailer", f"{n}.1") for n in range(9)])) == 3


def test_a_window_opens_and_closes() -> None:
    time = Time()
    time.us = 5_000_000
    plan = make_plan("svc.error at=10s for=5s", time=time)

    for second in range(5, 25):
        time.us = second * 1_000_000
        fires(plan, "svc.error", "mailer", "1.1")

    assert [f.t_us for f in plan.firings] == [n * 1_000_000 for n in range(10, 15)]


def test_nothing_fires_or_counts_before_the_faults_begin_and_after_heal() -> None:
    plan = FaultPlan(
        parse_faults(["bus.duplicate first=2"]), seed=1, chance=NoCoins(), now_us=Time().now_us
    )
    visit = ("bus.duplicate", "payment", "1.1")

    assert not fires(plan, *visit)
    plan.begin()
    assert fires(plan, *visit)
    plan.heal()
    assert not fires(plan, *visit)
    assert [f.occurrence for f in plan.firings] == [1]


def test_a_firing_is_written_into_the_history() -> None:
    history: list[Entry] = []
    time = Time()
    plan = make_plan("bus.duplicate rate=1", time=time, history=history)
    time.us = 40

    fires(plan, "bus.duplicate", "payment", "3.1")

    assert history == [("fault", 40, "run", "3.1", "bus.duplicate", "payment", 1, 0)]


def test_a_fault_that_belongs_to_its_subject_is_recorded_once_and_stays() -> None:
    site = make_plan("bus.poison#7").at("bus.poison", "OrderCreated")

    assert [site.marks(s) is not None for s in ("7.1", "8.1", "7.1", "7.1")] == [
        True, False, True, True,
    ]  # fmt: skip
    assert len(site._plan.firings) == 1


def test_a_client_that_sends_twice_has_two_subjects_that_are_marked_or_none() -> None:
    plan = make_plan("bus.poison rate=0.5")
    site = plan.at("bus.poison", "OrderCreated")

    marked = [(site.marks(f"{n}.1"), site.marks(f"{n}.2")) for n in range(1, 21)]

    assert {(one is None, two is None) for one, two in marked} == {(True, True), (False, False)}
    assert [firing.subject for firing in plan.firings] == [
        f"{n}.{send}" for n, (one, _) in enumerate(marked, 1) if one for send in (1, 2)
    ]
    plan.heal()
    assert site.marks(f"{plan.firings[0].subject.partition('.')[0]}.3") is None


def test_what_belongs_to_a_subject_stays_after_heal_and_nothing_new_is_marked() -> None:
    plan = make_plan("bus.poison rate=1")
    site = plan.at("bus.poison", "OrderCreated")
    site.marks("7.1")
    plan.heal()

    assert site.marks("7.1") is not None, "the same record, sent once more"
    assert site.marks("8.1") is None
    assert [firing.subject for firing in plan.firings] == ["7.1"]


def test_a_fault_that_is_absent_is_not_wanted() -> None:
    plan = make_plan("svc.error@mailer rate=0.1", "proc.term@payment at=3s")

    assert plan.wants("svc.error")
    assert plan.wants("svc.error", "mailer")
    assert not plan.wants("svc.error", "warehouse")
    assert not plan.wants("bus.duplicate")
    assert not plan.wants("proc.term"), "it strikes at a time, not at a visit"


def test_counters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "SUBJECTS_REMEMBERED", 10)
    site = make_plan("bus.duplicate nth=2").at("bus.duplicate", "payment")

    for n in range(1_000):
        site.fires(f"{n}.1")
        if n:
            site.fires(f"{n - 1}.1")

    assert len(site._young) + len(site._old) <= 20
    assert len(site._plan.firings) == 999, "two visits close together are counted as two"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no fault plan"),
        (b"[]", "no fault plan"),
        (b"\xff", "no fault plan"),
        (b'{"version":2}', "no fault plan"),
        (b'{"version":2,"seed":1,"asked":[],"firings":[],"mo', r"truncated \(it has 49 bytes"),
        (b'{"version":2,"seed":1,"asked":[],"firings":[{"kind":1}]}', r"firings\[0\]"),
        (b'{"version":2,"seed":1,"asked":[],"firings":[],"more":1}', "more"),
        (b'{"version":9}', "version 9"),
        (b'{"version":1,"seed":1,"asked":[],"firings":[]}', "version 1"),
    ],
)
def test_what_is_no_plan_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        read_plan(data)


def test_a_plan_with_an_unknown_fault_is_refused() -> None:
    with pytest.raises(PlanError, match=r"asked\[0\]: .*bus\.gremlin"):
        read_plan(b'{"version":2,"seed":1,"asked":["bus.gremlin"],"firings":[]}')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "bus.duplicat"}, r"firings\[1\]\.kind: .*did you mean bus\.duplicate"),
        ({"site": "paymint"}, r"firings\[1\]\.site: .*did you mean payment"),
        ({"subject": "seven"}, r"firings\[1\]\.subject: 'seven'"),
        ({"occurrence": 0}, r"firings\[1\]\.occurrence: too small: 0"),
        ({"t_us": -1}, r"firings\[1\]\.t_us: too small: -1"),
        ({"params": {"by": 3}}, r"firings\[1\]\.params: bus\.duplicate has no 'by'"),
        ({"params": {"for": "long"}}, r"firings\[1\]\.params\.for: 'long' is no number"),
    ],
)
def test_a_firing_that_cannot_be_is_refused_by_its_place(
    change: dict[str, object], says: str
) -> None:
    good = {
        "kind": "bus.duplicate",
        "site": "payment",
        "subject": "7.1",
        "occurrence": 1,
        "t_us": 5,
        "params": {},
    }
    plan = {"version": 2, "seed": 1, "asked": [], "firings": [good, good | change]}

    with pytest.raises(PlanError, match=says):
        read_plan(msgspec.json.encode(plan))


@pytest.mark.parametrize("part", ["seed", "asked", "firings", "run"])
def test_a_part_that_was_changed_is_named_and_without_sums_it_is_a_plan_of_ones_own(
    part: str,
) -> None:
    plan = make_plan("bus.duplicate rate=1")
    plan.at("bus.duplicate", "payment").fires("7.1")
    text = msgspec.json.decode(plan.to_json())
    text[part] = {"seed": 9, "asked": [], "firings": [], "run": _A_RUN}[part]

    with pytest.raises(PlanError, match=f"^{part}: this part was changed"):
        read_plan(msgspec.json.encode(text))
    del text["sums"]
    assert read_plan(msgspec.json.encode(text)).seed == text["seed"]


_A_RUN = {"lab": "1", "options": {}, "verdict": "", "broken": [], "digest": "", "entries": 0}


class HandTimers:
    """Timers that fire when the test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[int, object, Firing]] = []

    def call_after_us(self, delay_us: int, callback: object, firing: Firing) -> "HandTimers":
        self.set.append((delay_us, callback, firing))
        return self

    def cancel(self) -> None:
        self.set.clear()


class Struck:
    """A world that notes how it is struck."""

    def __init__(self, *texts: str) -> None:
        self.plan = make_plan(*texts)
        self.timers = HandTimers()
        self.notes: list[str] = []
        self.nemesis = Nemesis(
            self.plan,
            timers=self.timers,
            begin=lambda kind, site, _: self.notes.append(f"{kind} {site}"),
            end=lambda kind, site, _: self.notes.append(f"end {kind} {site}"),
        )
        self.nemesis.begin()

    def strike(self, *numbers: int) -> None:
        """Let the timers with these numbers be due, in the order in which they were set."""
        for number in numbers:
            _, callback, firing = self.timers.set[number]
            assert callable(callback)
            callback(firing)


def test_the_nemesis_strikes_processes_by_the_timetable_and_records_it() -> None:
    world = Struck("proc.term@orders at=4s", "proc.crash@payment-2 at=2s", "proc.term@api at=2s")

    assert [delay for delay, _, _ in world.timers.set] == [2_000_000, 2_000_000, 4_000_000]
    world.strike(0, 1)
    world.nemesis.heal()

    assert world.notes == ["proc.crash payment-2", "proc.term api"]
    assert [(f.kind, f.site) for f in world.plan.firings] == [
        ("proc.crash", "payment-2"),
        ("proc.term", "api"),
    ]
    assert world.timers.set == [], "healing drops what has not struck yet"
    assert not world.plan.is_active


def test_an_outage_begins_and_ends_and_is_one_firing() -> None:
    world = Struck("bus.down at=2s for=30s")

    world.strike(0)
    assert [delay for delay, _, _ in world.timers.set] == [2_000_000, 30_000_000]
    world.strike(1)
    world.nemesis.heal()

    assert world.notes == ["bus.down broker", "end bus.down broker"]
    assert [f.params for f in world.plan.firings] == [{"for": 30_000_000}]


def test_of_two_outages_that_overlap_the_last_one_ends_both() -> None:
    world = Struck("bus.down at=2s for=30s", "bus.down at=10s for=5s")

    world.strike(0, 1)
    world.strike(3)
    assert "end bus.down broker" not in world.notes
    world.strike(2)

    assert world.notes == ["bus.down broker", "bus.down broker", "end bus.down broker"]


def test_healing_ends_what_is_under_way() -> None:
    world = Struck("bus.down at=2s for=1h", "proc.pause@payment at=1s for=1h")

    world.strike(0, 1)
    world.nemesis.heal()
    world.nemesis.heal()

    assert world.notes[2:] == ["end proc.pause payment", "end bus.down broker"]


def test_an_outage_is_repeated_by_its_explicit_plan() -> None:
    plan = make_plan("bus.down at=4s for=7s", "proc.pause@api at=1s for=2s")
    for firing in plan.timetable():
        plan.record(firing)

    again = make_plan(explicit=read_plan(plan.to_json()).firings)

    assert again.timetable() == plan.timetable()
    assert [f.ends_us for f in again.timetable()] == [3_000_000, 11_000_000]
    assert not again.wants("bus.down")


def test_a_timetable_is_repeated_by_its_explicit_plan() -> None:
    plan = make_plan("proc.term@orders at=4s")
    plan.record(plan.timetable()[0])

    again = make_plan(explicit=read_plan(plan.to_json()).firings)

    assert [(f.site, f.t_us) for f in again.timetable()] == [("orders", 4_000_000)]
