"""An Idempotency-Key has one answer, whatever gets lost on the way."""

import hashlib

import pytest

from lab.domain.errors import Down, Indeterminate, Transient
from lab.history.calls import ActedEntry
from lab.history.pen import Pen
from lab.patterns.http_idempotency import IgnoredKeys, StoredKeys
from lab.ports.strategies import KeyRefusal, StoredAnswer
from lab.services.orders import OrdersUseCases
from tests.kit.entries import of_type
from tests.kit.order_world import WANTED, World, make_desk
from tests.kit.scripted import SUBJECT, Flaky
from tests.kit.virtual_steps import run, step

LOST = Indeterminate("the connection was lost at commit")
DOWN = Down("the store is down", dependency="postgres", after_us=5)


def post(desk: OrdersUseCases, key: str, body: bytes = b"{}") -> StoredAnswer | KeyRefusal:
    made = run(desk.create(WANTED, body=body, key=key, lab_subject=SUBJECT))
    assert isinstance(made, StoredAnswer | KeyRefusal)
    return made


def test_the_same_request_gets_the_same_answer_again() -> None:
    world = World()
    first = post(world.desk, "k1")
    assert post(world.desk, "k1") == first
    assert world.told() == ["OrderCreated"]
    assert world.acted() == [("http_idempotency", "replayed")]
    (acted,) = of_type(world.entries, ActedEntry)
    assert (acted.process, acted.subject) == ("api-1#1", SUBJECT)


def test_the_key_survives_the_process_that_took_it() -> None:
    world = World()
    first = post(world.desk, "k1")
    assert post(make_desk(world), "k1") == first
    assert world.told() == ["OrderCreated"]


def test_another_body_under_the_same_key_is_refused() -> None:
    world = World()
    post(world.desk, "k1")
    assert post(world.desk, "k1", b"other") is KeyRefusal.OTHER_BODY
    assert world.told() == ["OrderCreated"]
    assert world.acted() == [("http_idempotency", KeyRefusal.OTHER_BODY.value)]


def test_other_keys_and_no_key_make_other_orders() -> None:
    world = World()
    assert len({repr(post(world.desk, key)) for key in ("k1", "k2", "", "")}) == 4
    assert len(world.events) == 4


def test_a_second_request_while_the_first_runs_is_told_so() -> None:
    world = World()
    job = world.desk.create(WANTED, body=b"{}", key="k1", lab_subject=SUBJECT)
    assert step(job)
    assert post(world.desk, "k1") is KeyRefusal.RUNNING
    assert isinstance(post(world.desk, "k2"), StoredAnswer)
    assert run(job) == post(world.desk, "k1")


def test_a_cancelled_request_gives_its_claim_back() -> None:
    world = World()
    job = world.desk.create(WANTED, body=b"{}", key="k1", lab_subject=SUBJECT)
    assert step(job)
    job.close()
    assert isinstance(post(world.desk, "k1"), StoredAnswer)


def test_a_failed_request_gives_its_claim_back_and_stores_nothing() -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [DOWN]
    desk = make_desk(world, store)
    with pytest.raises(Down):
        post(desk, "k1")
    assert isinstance(post(desk, "k1", b"other"), StoredAnswer)


@pytest.mark.parametrize("key", ["k1", ""])
def test_a_lost_commit_is_looked_up(key: str) -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [("after", LOST)]
    desk = make_desk(world, store)
    assert isinstance(post(desk, key), StoredAnswer)
    assert world.told() == ["OrderCreated"]
    store.commits = [LOST]
    with pytest.raises(Indeterminate):
        post(desk, key and "k2")
    assert world.told() == ["OrderCreated"]


@pytest.mark.parametrize("key", ["k1", ""])
@pytest.mark.parametrize("wrong", [DOWN, Transient("deadlock")])
def test_a_lost_commit_never_claims_that_nothing_was_stored(wrong: Exception, key: str) -> None:
    world = World()
    store = Flaky(world.store)
    store.commits = [("after", LOST)]
    store.looks = [wrong]
    with pytest.raises(Indeterminate, match=r"^nobody knows whether the order was stored"):
        post(make_desk(world, store), key)
    assert world.told() == ["OrderCreated"]


@pytest.mark.parametrize("wrong", [DOWN, Transient("deadlock")])
def test_a_taken_key_that_cannot_be_read_never_claims_that_nothing_was_stored(
    wrong: Exception,
) -> None:
    world = World()
    post(world.desk, "k1")
    store = Flaky(world.store)
    store.looks = [wrong]
    with pytest.raises(Indeterminate):
        post(make_desk(world, store), "k1")


def test_the_key_row_holds_the_hash_of_the_body_and_the_answer() -> None:
    world = World()
    answer = post(world.desk, "k1", b"body")
    row = world.server.http_keys.find("k1")
    assert row is not None
    assert isinstance(answer, StoredAnswer)
    assert row.body_sha256 == hashlib.sha256(b"body").hexdigest()
    assert (row.status, row.answer) == (answer.status, answer.body)


def test_ignored_keys_make_an_order_for_each_request() -> None:
    world = World()
    desk = make_desk(world, http=IgnoredKeys(store=world.store))
    assert post(desk, "k1") != post(desk, "k1")
    assert world.told() == ["OrderCreated", "OrderCreated"]


def test_an_order_id_that_is_taken_is_no_second_order() -> None:
    world = World()
    post(world.desk, "")
    # A fresh source of ids begins with the first one again.
    assert post(make_desk(world), "") is KeyRefusal.EXISTS
    assert post(make_desk(world), "k9") is KeyRefusal.EXISTS
    assert world.told() == ["OrderCreated"]


def test_nothing_is_written_when_the_history_is_off() -> None:
    world = World()
    keys = StoredKeys(store=world.store, pen=Pen(process="api-1#1", now=world.now_us))
    desk = make_desk(world, http=keys)
    assert post(desk, "k1") == post(desk, "k1")
    assert post(desk, "k1", b"other") is KeyRefusal.OTHER_BODY
    assert world.acted() == []
