"""The plan of the supervisor, asked over a socket: the same decisions, cheaply, or none at all."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.faults.plan.plan import FaultPlan, Firing
from lab.faults.provider import ProviderFaults
from lab.faults.remote.plan import TCP, RemotePlan
from lab.faults.remote.server import PlanServer
from lab.faults.table.spec import parse_faults
from lab.history.entries import Entry
from lab.runtime.chance import KeyedChance

T = TypeVar("T")

SECOND = 1_000_000

# ---- a supervisor beside this thread: a question blocks who asks


class Supervisor:
    """An event loop in a thread, with the server of a plan."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._served = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, what: Callable[[], T]) -> T:
        """Call it in the supervisor's loop."""

        async def run() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    @contextlib.contextmanager
    def serving(self, plan: FaultPlan, path: Path | None = None) -> Iterator[PlanServer]:
        """The plan can be asked."""
        self._served += 1
        server = PlanServer(plan)
        path = path or self._folder / f"{self._served}"
        asyncio.run_coroutine_threadsafe(server.start(path), self._loop).result(10)
        try:
            yield server
        finally:
            self.call(server.close)


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    with Supervisor(tmp_path_factory.mktemp("plan")) as found:
        yield found


def make_plan(
    texts: Sequence[str],
    clock: Callable[[], int] = lambda: 0,
    history: list[Entry] | None = None,
    explicit: Sequence[Firing] | None = None,
) -> FaultPlan:
    return FaultPlan(
        parse_faults(texts),
        seed=7,
        chance=KeyedChance(7),
        now_us=clock,
        write=None if history is None else history.append,
        explicit=explicit,
    )


def remote(server: PlanServer, **how: int) -> RemotePlan:
    return RemotePlan(server.address, seed=7, chance=KeyedChance(7), **how)


# ---- the same decisions

_FAULTS = st.lists(
    st.sampled_from(
        [
            "bus.duplicate rate=0.3",
            "bus.duplicate@payment rate=0.5 max=3",
            "bus.duplicate#1-3 first=2",
            "bus.duplicate#every2 every=2",
            "bus.duplicate:3",
            "bus.poison rate=0.4",
            "bus.poison@OrderCreated#2 nth=1",
            "svc.error rate=0.3 max=4",
            "svc.error@mailer#every3 first=1 at=2s for=3s",
            "svc.timeout rate=0.2 at=1s",
            "svc.hang_after_effect first=1 for=4s",
            "proc.crash@any rate=0.4",
            "proc.crash@handler.after_commit#every2 first=1",
            "proc.crash@relay.after_publish max=2 rate=0.9",
        ]
    ),
    min_size=1,
    max_size=4,
)

_SITES = (
    ("bus.duplicate", "payment"),
    ("bus.duplicate", "orders"),
    ("proc.crash", "handler.after_commit"),
    ("proc.crash", "relay.after_publish"),
    ("proc.crash", "any"),
)

_SUBJECTS = st.integers(1, 6).map(lambda n: f"{n}.1")
_VISITS = st.lists(
    st.one_of(
        st.tuples(st.just("fires"), st.sampled_from(_SITES), _SUBJECTS),
        st.tuples(st.just("tosses"), st.sampled_from(_SITES), _SUBJECTS),
        st.tuples(st.just("marks"), st.just(("bus.poison", "OrderCreated")), _SUBJECTS),
        st.tuples(st.just("once"), st.sampled_from(_SITES), st.lists(_SUBJECTS, max_size=4)),
        st.tuples(st.just("visit"), st.sampled_from(_SITES), _SUBJECTS),
        st.tuples(st.just("call"), st.sampled_from(("mailer", "warehouse")), _SUBJECTS),
        st.tuples(st.just("wait"), st.integers(1, 2 * SECOND), st.none()),
        st.tuples(st.just("heal"), st.none(), st.none()),
    ),
    max_size=60,
)


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


def decisions(
    asked: FaultPlan,
    visits: Sequence[tuple[str, object, object]],
    time: Time,
    heal: Callable[[], None],
) -> list[object]:
    """What injectors hear at each visit."""
    providers = ProviderFaults(asked)
    told: list[object] = []
    for what, where, who in visits:
        match what, where, who:
            case "wait", int(us), _:
                time.us += us
            case "heal", _, _:
                heal()
            case "call", str(provider), str(subject):
                action = "send" if provider == "mailer" else "in_stock"
                told.append(providers.strike(provider, action, subject))
            case "once", (str(kind), str(name)), list(subjects):
                told.append(asked.at(kind, name).fires_once(subjects))
            case "visit", (str(kind), str(name)), str(subject):
                site = asked.at(kind, name)
                occurrence = site.visit(subject)
                told.append(site.toss(subject, occurrence) if occurrence else None)
            case "tosses", (str(kind), str(name)), str(subject):
                site = asked.at(kind, name)
                firing = site.tosses(subject)
                told.append((firing, site.is_active))
                if firing is not None:
                    site.strike(firing)
            case _, (str(kind), str(name)), str(subject):
                told.append(getattr(asked.at(kind, name), what)(subject))
            case _:
                raise AssertionError((what, where, who))
    return told


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=_FAULTS, visits=_VISITS, is_explicit=st.booleans())
def test_a_plan_that_is_asked_over_a_socket_decides_as_the_plan_itself(
    supervisor: Supervisor,
    texts: list[str],
    visits: list[tuple[str, object, object]],
    is_explicit: bool,  # noqa: FBT001 - drawn
) -> None:
    explicit = None
    if is_explicit:
        drawn = make_plan(texts)
        drawn.begin()
        decisions(drawn, visits, Time(), drawn.heal)
        explicit = drawn.firings
    history: list[Entry] = []
    time, clock = Time(), Time()
    local = make_plan(texts, time.now_us, history, explicit)
    local.begin()
    expected = decisions(local, visits, time, local.heal)
    told: list[Entry] = []
    served = make_plan(texts, clock.now_us, told, explicit)
    served.begin()

    with supervisor.serving(served) as server, contextlib.closing(remote(server)) as asked:
        found = decisions(asked, visits, clock, served.heal)

    assert found == expected
    assert served.firings == local.firings
    assert told == history


def test_it_wants_what_the_plan_wants(supervisor: Supervisor) -> None:
    plan = make_plan(
        ["bus.duplicate@payment rate=0.1", "proc.crash@any first=1", "proc.term@api at=1s"]
    )
    with supervisor.serving(plan) as server, contextlib.closing(remote(server)) as asked:
        for kind in ("bus.duplicate", "proc.crash", "proc.term", "svc.error"):
            assert asked.sites(kind) == plan.sites(kind)
            assert asked.wants(kind) == plan.wants(kind)
        assert asked.wants("bus.duplicate", "orders", "payment")
        assert not asked.wants("bus.duplicate", "orders")


def test_a_process_that_asks_is_counted_with_all_others(supervisor: Supervisor) -> None:
    plan = make_plan(["bus.duplicate@payment nth=2"])
    plan.begin()
    with (
        supervisor.serving(plan) as server,
        contextlib.closing(remote(server)) as first,
        contextlib.closing(remote(server)) as second,
    ):
        assert not first.at("bus.duplicate", "payment").fires("1.1")
        assert second.at("bus.duplicate", "payment").fires("1.1")
        assert not first.at("bus.duplicate", "payment").fires("1.1")


# ---- nobody answers


def test_without_a_supervisor_nothing_fires(tmp_path: Path) -> None:
    asked = RemotePlan(f"unix:{tmp_path}/none", seed=7, chance=KeyedChance(7))

    assert not asked.is_connected
    assert not asked.wants("bus.duplicate")
    assert asked.at("bus.duplicate", "payment").fires("1.1") is None
    assert not asked.at("proc.crash", "any").is_active


def test_when_the_supervisor_goes_away_nothing_fires_any_more(supervisor: Supervisor) -> None:
    plan = make_plan(["bus.duplicate rate=1", "bus.poison rate=1"])
    plan.begin()
    with supervisor.serving(plan) as server:
        asked = remote(server)
        assert asked.at("bus.duplicate", "payment").fires("1.1")

    assert not asked.at("bus.duplicate", "payment").fires("2.1")
    assert asked.at("bus.poison", "OrderCreated").marks("2.1") is None
    assert not asked.is_connected


def test_a_supervisor_that_does_not_answer_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        asked = RemotePlan(f"{TCP}127.0.0.1:{port}", seed=7, chance=KeyedChance(7), wait_us=20_000)

        assert not asked.is_connected
        assert not asked.at("bus.duplicate", "payment").fires("1.1")


def test_a_path_that_is_too_long_for_a_socket_becomes_a_port(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    plan = make_plan(["bus.duplicate rate=1"])
    plan.begin()
    with supervisor.serving(plan, tmp_path / ("x" * 120)) as server:
        assert server.address.startswith(TCP)
        with contextlib.closing(remote(server)) as asked:
            assert asked.at("bus.duplicate", "payment").fires("1.1")


# ---- questions that need not be asked


def test_nobody_asks_for_an_order_that_no_fault_was_asked_for(supervisor: Supervisor) -> None:
    plan = make_plan(["bus.duplicate#7 first=1"])
    plan.begin()
    with supervisor.serving(plan) as server, contextlib.closing(remote(server)) as asked:
        site = asked.at("bus.duplicate", "payment")
        assert site.fires("8.1") is None
        assert plan.at("bus.duplicate", "payment").visit("8.1") == 1, "it was counted"
        assert site.fires("7.2") is not None


def test_after_heal_a_process_asks_once_more_and_then_never(supervisor: Supervisor) -> None:
    plan = make_plan(["bus.duplicate rate=1"])
    plan.begin()
    with supervisor.serving(plan) as server, contextlib.closing(remote(server)) as asked:
        site = asked.at("bus.duplicate", "payment")
        assert site.fires("1.1")
        before = site.is_active
        supervisor.call(plan.heal)
        assert (before, site.is_active, asked.is_over) == (True, False, True)
        assert site.fires("1.1") is None
