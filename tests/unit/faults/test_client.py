"""What a client does wrong on purpose: what it sends, what it keeps to itself, what is recorded."""

from collections.abc import Coroutine

import msgspec
import pytest

from lab.faults.client import ClientInjector
from lab.faults.plan.plan import FaultPlan
from lab.faults.table.spec import parse_faults
from lab.history.entries import Entry
from lab.history.requests import HttpBeginEntry, HttpEndEntry, ShownEntry
from lab.ports.http import HttpAnswer, HttpCaller
from lab.runtime.chance import KeyedChance
from lab.runtime.clock import VirtualClock
from lab.runtime.virtual_loop import Scheduler, sleep_us
from lab.scenarios.client import Client, Tally
from lab.scenarios.made_up import made_up
from lab.scenarios.workload import PlannedOrder
from tests.kit.entries import of_type

MS = 1_000
TIMEOUT_US = 5_000 * MS


class Shop(HttpCaller):
    """Takes `takes_us` to answer, whether or not the client waits; answers in turn."""

    def __init__(self, *answers: int, takes_us: int = 3 * MS) -> None:
        self.answers = list(answers)
        self.takes_us = takes_us
        self.asked: list[tuple[str, bytes]] = []
        self.paths: list[str] = []
        self.waited: list[int] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer | None:
        assert method == "POST"
        self.paths.append(path)
        self.asked.append((dict(headers).get("idempotency-key", ""), body))
        self.waited.append(timeout_us)
        await sleep_us(min(self.takes_us, timeout_us))
        if timeout_us < self.takes_us:
            return None
        status = self.answers.pop(0) if self.answers else 201
        return HttpAnswer(status, (), b'{"order_id":"o","state":"PENDING"}')


def order(ordinal: int = 1) -> PlannedOrder:
    return list(made_up(7, ordinal, 10))[-1]


def placed(shop: Shop, *faults: str, of: int = 1) -> tuple[Tally, list[Entry], int]:
    """Place one order: the tally, the history, and when the client was through with it."""
    history: list[Entry] = []
    with Scheduler() as scheduler:
        root = scheduler.root
        plan = FaultPlan(parse_faults(faults), seed=7, chance=KeyedChance(7), now_us=root.now_us)
        plan.begin()
        client = Client(
            http=shop,
            clock=VirtualClock(root),
            faults=ClientInjector(plan),
            write=history.append,
            timeout_us=TIMEOUT_US,
            retry_us=100 * MS,
        )
        place: Coroutine[object, object, None] = client.place(order(of))
        scheduler.run(place)
        return client.tally, history, root.now_us()


def test_a_client_does_what_the_plan_asks_for_this_order() -> None:
    plan = FaultPlan(
        parse_faults(["client.same_key_new_body#1", "client.abandon#2 after=9ms"]),
        seed=7,
        chance=KeyedChance(7),
        now_us=lambda: 0,
    )
    plan.begin()
    faults = ClientInjector(plan)

    assert [faults.changes_body(f"{n}.1") for n in (1, 2, 3)] == [True, False, False]
    assert [faults.abandons_after_us(f"{n}.1") for n in (1, 2, 3)] == [None, 9 * MS, None]


def test_another_body_goes_under_the_key_of_the_order_that_was_accepted() -> None:
    shop = Shop(201, 422)

    tally, history, _ = placed(shop, "client.same_key_new_body")

    (key, body), (other_key, other) = shop.asked
    assert key == other_key == order().key
    assert body == order().body
    first, second = msgspec.json.decode(body), msgspec.json.decode(other)
    assert second["items"][0].pop("quantity") == first["items"][0].pop("quantity") + 1
    assert second == first
    # It is no intent of its own: one was submitted, one accepted.
    assert (tally.submitted, tally.accepted, tally.refused) == (1, 1, 0)
    begun, again = of_type(history, HttpBeginEntry)
    assert (begun.subject, again.subject) == ("1.1", "1.1000000")
    assert begun.body_sha256 != again.body_sha256


@pytest.mark.parametrize("status", [422, 400])
def test_a_key_under_which_nothing_is_stored_is_not_used_again(status: int) -> None:
    shop = Shop(status)

    placed(shop, "client.same_key_new_body")

    assert len(shop.asked) == 1


@pytest.mark.parametrize("takes_us", [3 * MS, 500 * MS])
def test_who_abandons_an_order_reads_no_answer_and_never_asks_again(takes_us: int) -> None:
    shop = Shop(201, takes_us=takes_us)

    tally, history, ended_us = placed(
        shop, "client.abandon after=10ms", "client.cancel", "client.retry_same_key"
    )

    assert shop.waited == [10 * MS]
    assert (tally.submitted, tally.accepted, tally.refused) == (1, 0, 0)
    assert tally.open == {"1.1": order().key}
    (end,) = of_type(history, HttpEndEntry)
    assert (end.status, end.problem, end.answer) == (0, "", "")
    assert ended_us >= TIMEOUT_US - 10 * MS, "the run waits for what may still become of it"


@pytest.mark.parametrize(
    ("statuses", "unfair"),
    [((404, 200), []), ((200, 200), [0]), ((404, 404), [1]), ((409, 409), [0])],
)
def test_a_slip_in_the_id_is_answered_with_404_and_nothing_else_is(
    statuses: tuple[int, int], unfair: list[int]
) -> None:
    shop = Shop(201, *statuses)

    _, history, _ = placed(shop, "client.cancel after=1ms slip=yes")

    assert shop.paths == ["/orders", "/orders/0/cancel", "/orders/o/cancel"]
    _, *ends = of_type(history, HttpEndEntry)
    assert [end.subject for end in ends] == ["1.4000000", "1.1"]
    assert [at for at, end in enumerate(ends) if end.is_unfair] == unfair


def test_nobody_leaves_later_than_he_would_have_given_up() -> None:
    shop = Shop(201, takes_us=60_000 * MS)

    _, _, ended_us = placed(shop, "client.abandon after=1m")

    assert shop.waited == [TIMEOUT_US]
    assert ended_us == TIMEOUT_US


class Window(HttpCaller):
    """Has one order to show, behind newer ones of its customer, a page each."""

    def __init__(self, *, newer: int, moves: bool = False) -> None:
        self.newer = newer
        self.moves = moves
        self.asked: list[tuple[str, str]] = []

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        timeout_us: int,
    ) -> HttpAnswer | None:
        del body, timeout_us
        await sleep_us(MS)
        if method == "POST":
            return HttpAnswer(201, (("location", "/there/o"),), b'{"order_id":"o"}')
        tag = dict(headers).get("if-none-match", "")
        self.asked.append((path, tag))
        version = 1 + sum(each == "/there/o" for each, _ in self.asked[:-1]) * self.moves
        if path == "/there/o":
            if tag == f'"{version}"':
                return HttpAnswer(304, (("etag", tag),), b"")
            return HttpAnswer(200, (("etag", f'"{version}"'),), self._view("o", version))
        page = int(path.partition("after=")[2] or 0)
        if page < self.newer:
            link = ("link", f'</orders?after={page + 1}>; rel="next"')
            return HttpAnswer(200, (link,), b'{"orders":[%b]}' % self._view(f"n{page}", 1))
        return HttpAnswer(200, (), b'{"orders":[%b]}' % self._view("o", version))

    def _view(self, order_id: str, version: int) -> bytes:
        view = {"order_id": order_id, "state": "PAID", "version": version}
        return msgspec.json.encode({**view, "currency": "EUR", "amount_cents": 7})


def looks(window: Window) -> list[tuple[str, int, int]]:
    """How each look ended: how, status, version."""
    history: list[Entry] = []
    with Scheduler() as scheduler:
        root = scheduler.root
        asked = parse_faults(["client.look times=2"])
        plan = FaultPlan(asked, seed=7, chance=KeyedChance(7), now_us=root.now_us)
        plan.begin()
        client = Client(
            http=window,
            clock=VirtualClock(root),
            faults=ClientInjector(plan),
            write=history.append,
            timeout_us=TIMEOUT_US,
            retry_us=100 * MS,
        )
        scheduler.run(client.place(order()))
    shown = of_type(history, ShownEntry)
    assert {(each.subject, each.order_id) for each in shown} == {("1.1", "o")}
    return [(each.how, each.status, each.version) for each in shown]


def test_who_looks_asks_where_the_answer_says_and_turns_pages_until_it_finds_its_order() -> None:
    window = Window(newer=2)

    assert looks(window) == [
        ("alone", 200, 1),
        ("listed", 200, 1),
        # It is told that nothing is new, and believes what it has.
        ("unchanged", 304, 1),
        ("listed", 200, 1),
    ]
    first = order().body.partition(b'"customer_id":"')[2].partition(b'"')[0].decode()
    assert window.asked[:4] == [
        ("/there/o", ""),
        (f"/orders?customer_id={first}&limit=1", ""),
        ("/orders?after=1", ""),
        ("/orders?after=2", ""),
    ]
    assert window.asked[4] == ("/there/o", '"1"')


def test_who_looks_is_shown_what_is_new() -> None:
    assert looks(Window(newer=0, moves=True))[2] == ("alone", 200, 2)


def test_who_looks_gives_up_a_list_that_does_not_end() -> None:
    assert looks(Window(newer=10_000)) == [("alone", 200, 1), ("unchanged", 304, 1)]
